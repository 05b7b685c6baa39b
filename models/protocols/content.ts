/** Content that a provider refuses. */

/** A run that ends because of its content: of the request, or of what came of it. */
export class ContentError extends Error {
  readonly stage: 'input' | 'output'

  constructor(message: string, stage: 'input' | 'output') {
    super(message)
    this.stage = stage
  }
}

/** A few words that no provider takes, so that a refusal can be seen without the fault switch. */
export const isUnsafe = (prompt: string): boolean => /\b(nsfw|nude|naked|gore)\b/i.test(prompt)
