import { fileURLToPath } from "node:url"
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads"
import { keep, targets } from "./Corpus.ts"
import { startCoverage } from "./Coverage.ts"
import { type Explored, explore } from "./explore.ts"

// npm run fuzz [-- SECONDS [SEED [TARGET…]]]: tries changed inputs on each reader for so long, going on from those that reach
// something new; keeps these in test/corpus, and those that break something as broken-…, and ends with status 1 then.

interface Work {
  readonly corpus: string
  readonly name: string
  readonly seconds: number
  readonly seed: number
  /** The input that is being tried: its length, and its bytes. */
  readonly shared: SharedArrayBuffer
}

const hungMillis = 20_000

const main = async (): Promise<void> => {
  const [seconds = "10", seed = String(Date.now() % 1_000_000), ...names] = process.argv.slice(2)
  const corpus = fileURLToPath(new URL("../test/corpus", import.meta.url))
  console.log(`seed ${seed}`)
  for (const target of targets.filter(({ name }) => names.length === 0 || names.includes(name))) {
    const shared = new SharedArrayBuffer(4 + 64 * 1024)
    const work: Work = { corpus, name: target.name, seconds: Number(seconds), seed: Number(seed), shared }
    const explored = await inThread(work)
    if (explored === undefined) {
      process.exitCode = 1
      const bytes = Buffer.from(shared, 4, new Int32Array(shared, 0, 1)[0]).toString("latin1")
      console.log(`${target.name}: hangs on ${keep(corpus, target, bytes, "broken-")}`)
      continue
    }
    const { failures, inputs, places, tries } = explored
    console.log(`${target.name}: ${tries} tries, ${places} places, ${inputs} inputs, ${failures.length} failures`)
    for (const { message, path } of failures) {
      process.exitCode = 1
      console.log(`${path}\n  ${message.replaceAll("\n", "\n  ")}`)
    }
  }
}

/** Undefined: one input took it longer than any may. */
const inThread = (work: Work): Promise<Explored | undefined> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: work })
    const watch = setTimeout(
      () => void worker.terminate().then(() => resolve(undefined)),
      work.seconds * 1000 + hungMillis + 20_000
    )
    worker.once("message", (explored: Explored) => {
      clearTimeout(watch)
      resolve(explored)
    })
    worker.once("error", reject)
  })

const thread = ({ corpus, name, seconds, seed, shared }: Work): void => {
  const target = targets.find((each) => each.name === name)
  if (target === undefined) throw new Error(`there is no target ${name}`)
  const length = new Int32Array(shared, 0, 1)
  const bytes = Buffer.from(shared, 4)
  const coverage = startCoverage((url) => url === import.meta.url)
  const explored = explore({
    corpus,
    target,
    coverage,
    seed,
    seconds,
    trying: (text) => {
      length[0] = bytes.write(text, 0, "latin1")
    }
  })
  coverage.stop()
  parentPort?.postMessage(explored)
}

if (isMainThread) await main()
else thread(workerData)
