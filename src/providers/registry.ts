/** All providers by name; adding one is a file and a line here. */
import type { ProviderName } from '../words.ts'
import { fal } from './fal.ts'
import { gemini } from './gemini.ts'
import { openai } from './openai.ts'
import type { Provider } from './provider.ts'
import { replicate } from './replicate.ts'
import { workersAi } from './workers-ai.ts'

const providers: Record<ProviderName, Provider> = { replicate, fal, openai, gemini, 'workers-ai': workersAi }

export const providerOf = (name: ProviderName): Provider => providers[name]
