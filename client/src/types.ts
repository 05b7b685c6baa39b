/** What the API takes and answers, as the generated types say, and how they become those of calls. */
import type { components, paths } from './openapi.ts'

export type Schemas = components['schemas']
export type Asset = Schemas['Asset']
export type Generation = Schemas['Generation']
export type GenerationInput = Schemas['GenerationInput']
export type Tokens = Schemas['Tokens']
export type WebhookMessage = Schemas['WebhookMessage']

/** An event of a stream; its `id` is what `lastEventId` takes. A newer server may send further types. */
export type GenerationEvent = Schemas['GenerationEvent'] & {
  id: string
  type: Generation['status'] | 'progress' | 'provider.switched'
}

export type Method = 'get' | 'post' | 'patch' | 'delete'

/** Routes by the path after `/api/v1`; those outside it by their whole path. */
type Short<Path> = Path extends `/api/v1${infer Rest}` ? Rest : Path

/** The paths that have a method. */
export type PathOf<M extends Method> = {
  [Path in keyof paths]: paths[Path] extends Record<M, { responses: unknown }> ? Short<Path> : never
}[keyof paths]

type Full<Path> = Path extends keyof paths ? Path : Path extends string ? `/api/v1${Path}` : never
type Operation<M extends Method, Path> = paths[Full<Path> & keyof paths][M]

type PathPart<O> = O extends { parameters: { path: infer T } } ? { path: T } : { path?: never }
type QueryPart<O> = O extends { parameters: { query: infer T extends object } }
  ? { query: T }
  : O extends { parameters: { query?: infer T } }
    ? { query?: Exclude<T, undefined> }
    : { query?: never }
type BodyPart<O> = O extends { requestBody: { content: infer Content } }
  ? Content extends { 'application/json': infer T }
    ? { body: T }
    : { body: FormData | Blob | Uint8Array }
  : { body?: never }

/** The JSON that a POST takes. */
export type Body<Path extends PathOf<'post'>> = BodyPart<Operation<'post', Path>>['body']

/** What is the same for all calls. */
export interface CallOptions {
  signal?: AbortSignal | undefined
  headers?: Record<string, string>
  /** Sent again with it, the same request is not done again; jobs, large files and exports get one by themselves. */
  idempotencyKey?: string
}

type Options<M extends Method, Path> = CallOptions &
  PathPart<Operation<M, Path>> &
  QueryPart<Operation<M, Path>> &
  BodyPart<Operation<M, Path>>

/** The options of a call, which may be left out where nothing is required. */
export type Arguments<M extends Method, Path> =
  Record<never, never> extends Options<M, Path> ? [options?: Options<M, Path>] : [options: Options<M, Path>]

type Content<Response> = Response extends { content: { 'application/json': infer T } } ? T : undefined

/** The JSON of an answer; undefined where there is none. */
export type Result<M extends Method, Path> =
  Operation<M, Path> extends { responses: infer R } ? Content<R[keyof R & (200 | 201 | 202 | 204)]> : never

interface Page<T> {
  get: { responses: { 200: { content: { 'application/json': { data: T[]; nextCursor: string | null } } } } }
}
/** The paths that answer a page. */
export type ListPath = {
  [Path in keyof paths]: paths[Path] extends Page<unknown> ? Short<Path> : never
}[keyof paths] &
  PathOf<'get'>
export type Item<Path> = paths[Full<Path> & keyof paths] extends Page<infer T> ? T : never
