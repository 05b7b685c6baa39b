/** What every protocol of the model server works with. */
import type { Faults, Provider } from './faults.ts'
import type { Predictions } from './predictions.ts'

/** What every protocol works with. */
export interface ServerContext {
  token: string
  faults: Faults
  predictions: Predictions
  /** Counts a request that asks for something to be made. */
  count(provider: Provider): void
}
