/** The program of the object storage: Miniflare's R2 with its S3 API. Arguments: a port, and the folder of the data. */
import { Miniflare } from 'miniflare'

const [port, folder] = process.argv.slice(2)
const experimentalS3Credentials = {
  accessKeyId: process.env.S3_ACCESS_KEY_ID ?? '',
  secretAccessKey: process.env.S3_SECRET_ACCESS_KEY ?? '',
}
const contents = 'export default { fetch: () => new Response() }'

const miniflare = new Miniflare({
  host: '127.0.0.1',
  port: Number(port),
  cf: false,
  telemetry: { enabled: false },
  resourcePersistencePath: folder,
  workers: [
    {
      config: {
        name: 'storage',
        compatibilityDate: '2026-11-01',
        manifest: {
          mainModule: 'main.mjs',
          modulesRoot: '/',
          modules: { 'main.mjs': { type: 'esm', contents } },
        },
        // The S3 API serves the buckets that have credentials; nothing else uses the binding.
        env: { BUCKET: { type: 'r2', name: 'merchant-assets', dev: { experimentalS3Credentials } } },
      },
    },
  ],
})
process.once('SIGINT', () => void miniflare.dispose().then(() => process.exit(0)))
await miniflare.ready
