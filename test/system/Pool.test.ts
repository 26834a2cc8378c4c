import { pathToFileURL } from "node:url"
import { Worker } from "node:worker_threads"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { vi } from "vitest"
import { hash as hashJob } from "../../src/system/Digests.ts"
import { openPool, type WorkerProgram } from "../../src/system/Pool.ts"
import { type Runner, WorkerEnded } from "../../src/system/WorkerJob.ts"
import { sampleMethod } from "../../src/zip/Compress.ts"
import { temporaryFolder } from "../support/program/log.ts"

const never = new AbortController().signal

/** Does what the path says, or the size of what is to be sampled. */
const obedient = `
const { parentPort, threadId } = require("node:worker_threads")
const acts = {
  hang: () => { for (;;); },
  exit: () => process.exit(1),
  throw: () => { throw new Error("broken on purpose") },
  say: () => undefined
}
const sizes = ["say", "exit", "hang"]
parentPort.on("message", ({ name, input }) => {
  const [act, word] = name === "sample" ? [sizes[input.size]] : input.path.split(" ")
  acts[act]()
  const value = name === "sample" ? "store" : { digests: [word ?? threadId], pieces: [] }
  parentPort.postMessage({ ok: true, value })
})
parentPort.postMessage("ready")`

/** Work in process, which says that it was. */
const here: Runner = {
  width: 1,
  followers: 0,
  run: () => Promise.reject(new Error("done in process"))
}

/** A pool that goes with the scope, and what it complained of. */
const scopedPool = (width: number, program: WorkerProgram = obedient) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const troubles: Array<string> = []
      const pool = openPool({
        program,
        width,
        instead: here,
        onTrouble: (message) => troubles.push(message)
      })
      const hash = async (path: string, signal: AbortSignal = never) =>
        (await pool.run(hashJob, { path, algorithms: [] }, signal)).digests
      /** Brief work: two pieces of it are sent to a thread at a time. */
      const brief = (act: "say" | "exit" | "hang", signal: AbortSignal = never) =>
        pool.run(sampleMethod, { fd: 0, size: ["say", "exit", "hang"].indexOf(act) }, signal)
      return { ...pool, troubles, hash, brief }
    }),
    ({ close }) => Effect.promise(close)
  )

/** For the length of the scope: the next answer of a worker cannot be deserialized. */
const lostAnswer = Effect.acquireRelease(
  Effect.sync(() => {
    const { emit } = Worker.prototype
    let lost = false
    return vi.spyOn(Worker.prototype, "emit").mockImplementation(function (
      this: Worker,
      event: string | symbol,
      ...args: ReadonlyArray<unknown>
    ) {
      if (event !== "message" || lost) return Reflect.apply(emit, this, [event, ...args])
      lost = true
      return Reflect.apply(emit, this, ["messageerror", new Error("no memory for it")])
    })
  }),
  (spy) => Effect.sync(() => spy.mockRestore())
)

/** What work that is under way will fail with. */
const failing = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => assert.fail("it should have failed"),
    (cause: unknown) => cause
  )

const failure = (work: Promise<unknown>) => Effect.promise(() => failing(work))

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

describe("threads", () => {
  it.scoped("do more work than there are threads", () =>
    Effect.gen(function* () {
      const { hash } = yield* scopedPool(2)
      const words = Array.from({ length: 50 }, (_, index) => `${index}`)
      const answers = yield* Effect.promise(() => Promise.all(words.map((word) => hash(`say ${word}`))))
      assert.deepStrictEqual(answers.flat(), words)
    })
  )

  it.scoped("fail what they worked on when they end, with a reason, and the next work has a new one", () =>
    Effect.gen(function* () {
      const { hash, troubles } = yield* scopedPool(1)
      const died = yield* failure(hash("exit"))
      assert.instanceOf(died, WorkerEnded)
      assert.include(messageOf(died), "it was ended")
      assert.deepStrictEqual(yield* Effect.promise(() => hash("say on")), ["on"])
      const broke = yield* failure(hash("throw"))
      assert.instanceOf(broke, WorkerEnded)
      assert.include(messageOf(broke), "broken on purpose")
      assert.deepStrictEqual(yield* Effect.promise(() => hash("say on")), ["on"])
      assert.deepStrictEqual(troubles, [])
    })
  )

  it.scoped("that end cost only the work they were at", () =>
    Effect.gen(function* () {
      const { brief } = yield* scopedPool(1)
      const works = [brief("exit"), brief("say"), brief("exit"), brief("say")]
      const results = yield* Effect.promise(() => Promise.allSettled(works))
      assert.deepStrictEqual(
        results.map(({ status }) => status),
        ["rejected", "fulfilled", "rejected", "fulfilled"]
      )
    })
  )

  it.scoped("are ended with work that is given up; other work is done all the same", () =>
    Effect.gen(function* () {
      const { brief, hash } = yield* scopedPool(1)
      const controller = new AbortController()
      const given = failing(brief("hang", controller.signal))
      const sent = brief("say")
      const queued = failing(hash("say queued", controller.signal))
      const after = hash("say after")
      controller.abort(new Error("given up"))
      assert.strictEqual(messageOf(yield* Effect.promise(() => given)), "given up")
      assert.strictEqual(messageOf(yield* Effect.promise(() => queued)), "given up")
      assert.strictEqual(yield* Effect.promise(() => sent), "store")
      assert.deepStrictEqual(yield* Effect.promise(() => after), ["after"])
      assert.strictEqual(messageOf(yield* failure(hash("say", controller.signal))), "given up")
    })
  )

  it.scoped("whose answer cannot be read, or that cannot be asked, fail the work and hold up nothing", () =>
    Effect.gen(function* () {
      const garbled = obedient.replace("{ ok: true, value }", "{ ok: true, value: acts }")
      const { hash } = yield* scopedPool(1, garbled)
      assert.instanceOf(yield* failure(hash("say")), WorkerEnded)
      const { hash: other, run } = yield* scopedPool(1)
      const input = Object.assign({ path: "say", algorithms: [] }, { not: () => "data" })
      assert.include(messageOf(yield* failure(run(hashJob, input, never))), "could not be cloned")
      assert.deepStrictEqual(yield* Effect.promise(() => other("say on")), ["on"])
    })
  )

  it.scoped("that lose an answer give nobody that of other work", () =>
    Effect.gen(function* () {
      const { brief, hash } = yield* scopedPool(1)
      yield* Effect.promise(() => hash("say on"))
      yield* lostAnswer
      const results = yield* Effect.promise(() => Promise.allSettled([brief("say"), hash("say other"), brief("say")]))
      const [lost, ...others] = results
      assert.strictEqual(lost.status, "rejected")
      assert.isTrue(others.every(({ status }) => status === "fulfilled"))
      assert.deepInclude(others[0], { value: ["other"] })
      assert.deepInclude(others[1], { value: "store" })
    })
  )

  it.effect("are gone when the pool is closed, and all work has failed", () =>
    Effect.gen(function* () {
      const works: Array<Promise<unknown>> = []
      const closed: Array<() => Promise<unknown>> = []
      yield* Effect.scoped(
        Effect.tap(scopedPool(2), ({ hash }) =>
          Effect.sync(() => {
            works.push(...["hang", "hang", "say"].map((path) => failing(hash(path))))
            closed.push(() => failing(hash("say")))
          })
        )
      )
      works.push(...closed.map((work) => work()))
      for (const cause of yield* Effect.promise(() => Promise.all(works))) {
        assert.instanceOf(cause, WorkerEnded)
      }
    })
  )
})

describe("threads that cannot be started", () => {
  const cases: ReadonlyArray<readonly [string, WorkerProgram, string]> = [
    ["for their program is not there", pathToFileURL("/nonexistent/worker.mjs"), "Cannot find module"],
    ["for it fails at once", `throw new Error("no such function here")`, "no such function here"],
    ["for the system refuses", new URL("http://localhost/worker.mjs"), "The URL must be"]
  ]
  for (const [why, program, words] of cases) {
    it.scoped(`${why}: the work is done in process, and that is said once`, () =>
      Effect.gen(function* () {
        const { hash, brief, troubles } = yield* scopedPool(2, program)
        const works = [hash("say"), brief("say"), hash("say")].map(failing)
        for (const cause of yield* Effect.promise(() => Promise.all(works))) {
          assert.strictEqual(messageOf(cause), "done in process")
        }
        assert.strictEqual(messageOf(yield* failure(hash("say"))), "done in process")
        assert.strictEqual(troubles.length, 1)
        assert.include(troubles[0], `cannot start all of the 2 worker threads: ${words}`)
      })
    )
  }

  it.scoped("though others could: these do it all", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const single = `require("node:fs").openSync("${folder}/only", "wx");${obedient}`
      const { hash, troubles } = yield* scopedPool(3, single)
      const answers = yield* Effect.promise(() =>
        Promise.all(["say 1", "say 2", "say 3", "say 4"].map((path) => hash(path)))
      )
      assert.deepStrictEqual(answers.flat(), ["1", "2", "3", "4"])
      assert.strictEqual(troubles.length, 1)
      assert.include(troubles[0], "cannot start all of the 3 worker threads: ")
    })
  )
})
