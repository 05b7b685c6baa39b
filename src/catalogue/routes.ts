/** The route of the catalogue. */
import { z } from 'zod'
import { authorize } from '../db/client.ts'
import { json } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { createRouter } from '../http/router.ts'
import { aspectRatios, generationKinds, kindOf, styles, tasks } from '../words.ts'
import { inputsOf, usableModels } from './catalogue.ts'
import { creditsPer } from './input.ts'
import type { Offer } from './schema.ts'

const Price = z.object({ per: z.enum(['image', 'second', 'megapixel', 'run']), credits: z.number() })

const ModelView = z
  .object({
    id: z.string(),
    task: z.enum(tasks),
    kind: z.enum(generationKinds),
    name: z.string(),
    price: Price.extend({
      withPrompt: Price.nullable().describe('With a `prompt` or a `style`; null: takes neither'),
      withText: Price.nullable().describe('With lettering (`text`); null: takes none'),
    }).describe(
      'Of one: a request costs as many times this as it has pictures, or seconds of film, rounded up to whole credits, and at least 1. Who makes it is the first who can do all of it, so that what else is asked for, such as an `aspectRatio`, may have another price: `POST /generations/quote` says what a request costs.',
    ),
    inputs: z
      .object({
        prompt: z.boolean().describe('Takes an instruction, and a style'),
        text: z.boolean().describe('Takes lettering'),
        seed: z.boolean(),
        minInputAssets: z.int().describe('The least, whatever else is asked for: some of it may take more'),
        maxInputAssets: z.int().describe('Images of whichever type: they are prepared for the model'),
        maxCount: z.int(),
        aspectRatios: z
          .array(z.enum(aspectRatios))
          .describe("None: the photo's. Not each goes with all else"),
        styles: z.array(z.enum(styles)),
        durations: z
          .array(z.int())
          .nullable()
          .describe('Seconds; null for pictures. Not each goes with all else, such as no photo'),
      })
      .describe(
        'What the model can be asked for, each by itself. Several may make it who can do different things, so that not every combination is taken: `POST /generations/quote` says whether one is, and else what could be.',
      ),
  })
  .openapi('Model')

export const routes = createRouter()

routes.openapi(
  operation('model.list', {
    method: 'get',
    path: '/models',
    tag: 'Generations',
    summary: 'The models that can be asked now, the default of each task first',
    scope: 'user',
    responses: {
      200: json(z.object({ data: z.array(ModelView), nextCursor: z.null() }), 'All models'),
    },
  }),
  async (c) => {
    const ctx = c.get('ctx')
    await authorize(ctx)
    const data = usableModels(ctx.env).map((usable) => {
      const { id, task, name } = usable.model
      const inputs = inputsOf(usable)
      const { offers } = usable
      const priceOf = (offer: Offer | undefined) => (offer ? creditsPer(offer) : null)
      return {
        id,
        task,
        kind: kindOf(task),
        name,
        price: {
          ...creditsPer(offers[0]),
          withPrompt: priceOf(offers.find(({ input }) => input.prompt)),
          withText: priceOf(offers.find(({ input }) => input.prompt && input.letters)),
        },
        inputs: { ...inputs, styles: inputs.prompt ? [...styles] : [] },
      }
    })
    return c.json({ data, nextCursor: null }, 200)
  },
)
