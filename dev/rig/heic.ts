/** A thread of its own for HEIC: libheif takes seconds, in which the rig would do nothing else. */
import { parentPort, workerData } from 'node:worker_threads'
import decode from 'heic-decode'

parentPort?.postMessage(await decode({ buffer: workerData }))
