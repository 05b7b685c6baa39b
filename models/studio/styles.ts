/** The six styles by the name that an input gives them. */
import { business } from './styles/business.ts'
import { fresh } from './styles/fresh.ts'
import { luxury } from './styles/luxury.ts'
import { modern } from './styles/modern.ts'
import { tech } from './styles/tech.ts'
import { warm } from './styles/warm.ts'

export const styles = { modern, luxury, fresh, tech, warm, business }

export type StyleName = keyof typeof styles
