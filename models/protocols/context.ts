/** What every protocol of the model server works with. */
import type { ModelSchema } from '../schemas.ts'
import type { Faults } from './faults.ts'
import type { Predictions } from './predictions.ts'
import type { Submissions } from './submissions.ts'

/** What sides are multiplied with: making them as large as the real models do is most of the work. */
export interface Scale {
  film: number
  picture: number
}

/** What every protocol works with. */
export interface ServerContext {
  token: string
  faults: Faults
  predictions: Predictions
  schemas: ModelSchema[]
  scale: Scale
  submissions: Submissions
}
