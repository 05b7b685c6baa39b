/** All providers by name; adding one is a file and a line here. */
import { openai } from './openai.ts'
import type { Provider } from './provider.ts'
import { replicate } from './replicate.ts'
import { workersAi } from './workers-ai.ts'

const providers = { replicate, openai, 'workers-ai': workersAi } satisfies Record<string, Provider>

export type ProviderName = keyof typeof providers

export const providerOf = (name: ProviderName): Provider => providers[name]
