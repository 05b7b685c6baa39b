/** Keeps two stacks off one data folder, and tells whose a process number is. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'

export interface ProcessInfo {
  /** Differs for another process that got the same number later. */
  started: string
  command: string
}

/** Takes the lock or throws; returns what gives it back. A lock whose owner is gone doesn't count. */
export function takeLock(path: string, refusal: (pid: number) => string): () => void {
  const own = `${process.pid} ${processAt(process.pid)?.started}`
  const holder = readLock(path)
  if (holder) {
    if (processAt(holder.pid)?.started === holder.started) throw new Error(refusal(holder.pid))
    rmSync(path, { force: true })
  }
  try {
    writeFileSync(path, own, { flag: 'wx' })
  } catch (error) {
    const winner = readLock(path)
    throw winner ? new Error(refusal(winner.pid)) : error
  }
  return () => rmSync(path, { force: true })
}

function readLock(path: string): { pid: number; started: string } | undefined {
  if (!existsSync(path)) return undefined
  const [pid, ...started] = readFileSync(path, 'utf8').split(' ')
  return { pid: Number(pid), started: started.join(' ') }
}

/** Undefined for a process that doesn't run (any more); one that only waits to be collected counts as gone. */
export function processAt(pid: number): ProcessInfo | undefined {
  if (!(pid > 0)) return undefined
  return process.platform === 'linux' ? fromProc(pid) : fromPs(pid)
}

// Not by `ps`, which small containers lack.
function fromProc(pid: number): ProcessInfo | undefined {
  try {
    // The name, in brackets, may hold spaces; what follows it can't.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    return fields[0] === 'Z' ? undefined : { started: String(fields[19]), command }
  } catch {
    return undefined
  }
}

function fromPs(pid: number): ProcessInfo | undefined {
  const { stdout } = spawnSync('ps', ['-o', 'stat=,lstart=,command=', '-p', String(pid)], {
    encoding: 'utf8',
  })
  const [, state, started, command] = /^\s*(\S+)\s+((?:\S+\s+){4}\d{4})\s+(.*)/s.exec(stdout ?? '') ?? []
  return !started || state?.startsWith('Z') ? undefined : { started, command: command ?? '' }
}
