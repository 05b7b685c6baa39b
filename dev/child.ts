/** Child processes that end with this one, however it ends, and ports for them. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { type AddressInfo, createServer } from 'node:net'

// Becomes the program itself, but leaves a watcher behind that holds the other end of a pipe to this process:
// when that breaks, the watcher interrupts the program.
const WATCHED = '( ( read -r word <&3 || kill -INT $$ ) >/dev/null 2>&1 & ); exec "$@" 3<&-'

/**
 * In its own process group: Ctrl+C is for this process, which then stops its children in order. What is left of
 * the group when the program ends, is killed.
 * Standard error is a pipe, standard output is what `stdout` says.
 */
export function spawnTied(
  command: string[],
  options: Pick<SpawnOptions, 'cwd' | 'env' | 'uid' | 'gid'>,
  stdout: 'ignore' | 'pipe',
): ChildProcess {
  const child = spawn('/bin/sh', ['-c', WATCHED, 'sh', ...command], {
    ...options,
    detached: true,
    stdio: ['ignore', stdout, 'pipe', 'pipe'],
  })
  child.stdio[3]?.on('error', () => {})
  child.once('exit', () => killGroup(child))
  return child
}

/** At once, with everything below it. */
export function killGroup(child: ChildProcess): void {
  try {
    if (child.pid) process.kill(-child.pid, 'SIGKILL')
  } catch {
    // Nothing of it is left.
  }
}

/** Interrupts, waits, and after `timeout` milliseconds sends `force`. */
export async function endChild(child: ChildProcess, timeout: number, force: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGINT')
  const timer = setTimeout(() => child.kill(force), timeout)
  await exited
  clearTimeout(timer)
}

/** Free on 127.0.0.1 a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
      .once('error', () => resolve(false))
      .listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
