/** An earlier commit of this project, to be measured beside today's. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { PROJECT } from '../../stack.ts'

/** A checkout of the commit, with its dependencies. */
export const checkOut = (commit: string): string => {
  const git = (...words: string[]) => execFileSync('git', words, { cwd: PROJECT, encoding: 'utf8' }).trim()
  const sha = git('rev-parse', '--short', `${commit}^{commit}`)
  const folder = join(PROJECT, '.wrangler/bench', sha)
  if (!existsSync(join(folder, 'node_modules'))) {
    mkdirSync(folder, { recursive: true })
    const archive = execFileSync('git', ['archive', sha], { cwd: PROJECT, maxBuffer: 1e9 })
    execFileSync('tar', ['-x', '-C', folder], { input: archive })
    execFileSync('npm', ['ci'], { cwd: folder, stdio: 'ignore' })
  }
  return folder
}
