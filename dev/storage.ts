/** Starts object storage: the buckets on a port of their own, with the credentials that the Worker has. */
import { join } from 'node:path'
import { AwsClient } from 'aws4fetch'
import { type LocalServer, startServer } from './server.ts'

/**
 * The path-style URL of the bucket. As in production its origin isn't the API's, so that clients which follow the
 * redirect to a presigned URL leave the `Authorization` header behind.
 */
export const bucketUrl = (port: number, bucket = 'merchant-assets') =>
  `http://127.0.0.1:${port}/cdn-cgi/local/r2/s3/${bucket}`
/** The second bucket of the same server. */
export const fallbackUrl = (port: number) => bucketUrl(port, 'merchant-assets-fallback')

/** A client of the bucket with the keys of these settings. */
export const s3Of = ({
  S3_ACCESS_KEY_ID = '',
  S3_SECRET_ACCESS_KEY = '',
}: Record<string, string | undefined>) =>
  new AwsClient({
    accessKeyId: S3_ACCESS_KEY_ID,
    secretAccessKey: S3_SECRET_ACCESS_KEY,
    service: 's3',
    region: 'auto',
  })

export function startStorage(
  options: { port: number; dataDir: string; settings: Record<string, string> },
  signal?: AbortSignal,
): Promise<LocalServer> {
  const { port, dataDir, settings } = options
  return startServer(
    {
      name: 'The storage',
      command: [
        process.execPath,
        join(import.meta.dirname, 'storage-server.ts'),
        String(port),
        join(dataDir, 'wrangler/v3'),
      ],
      env: {
        S3_ACCESS_KEY_ID: settings.S3_ACCESS_KEY_ID,
        S3_SECRET_ACCESS_KEY: settings.S3_SECRET_ACCESS_KEY,
      },
      port,
      health: '/',
      probe: '/',
      logPath: join(dataDir, 'storage.log'),
    },
    signal,
  )
}
