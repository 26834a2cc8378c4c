import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { type Notification, Notifier, NotifyError } from "../../src/notify/Notifier.ts"
import { Hooks } from "../../src/runs/Hooks.ts"
import { LockError } from "../../src/runs/Lock.ts"
import { deliver } from "../../src/runs/Messages.ts"
import { withoutMarkdown } from "../../src/runs/MessageTexts.ts"
import { PreflightError } from "../../src/runs/Run.ts"
import { Disk } from "../../src/system/Disk.ts"
import { type Invocation, Process } from "../../src/system/Process.ts"
import type { HooksMemory } from "../doubles/Hooks.ts"
import { memoryJobStates, noJobStates } from "../doubles/JobStates.ts"
import { makeKit, short, twoFolders, unreadable } from "../support/program/job.ts"
import { capturedLog } from "../support/program/log.ts"
import { type Answer, processFake } from "../support/program/processFake.ts"
import { archiveState, historyOf } from "../support/program/supervised.ts"

const kitWith = (hooks: HooksMemory, more: Omit<NonNullable<Parameters<typeof makeKit>[1]>, "hooks"> = {}) =>
  makeKit(twoFolders(), { ...more, hooks })

const events = ({ ran }: HooksMemory) => ran.map(({ event }) => event)

describe("hooks of a run", () => {
  it.effect("before comes first: what it writes is archived; after gets how the run ended", () =>
    Effect.gen(function* () {
      const hooks: HooksMemory = {
        ran: [],
        during: (event) =>
          Effect.sync(() => {
            if (event === "before") kit.tree["DUMP"] = { db: { content: "rows" } }
          })
      }
      const kit = yield* kitWith(hooks)
      const { folders } = yield* kit.run()
      assert.deepStrictEqual(short(folders), ["ABCD archived", "DUMP archived", "EFGH archived"])
      const [before, after] = hooks.ran
      assert.deepStrictEqual(before, { event: "before", job: "archive", task: "run", run: "ab12cd" })
      assert.deepInclude(after, { event: "after", outcome: "ok", run: "ab12cd" })
      assert.deepNestedInclude(after, { "result.archived": 3, "result.dry_run": false, "result.version": 1 })
    })
  )

  it.effect("a before that fails ends the run before it looks at anything, is told, and after runs", () =>
    Effect.gen(function* () {
      const hooks: HooksMemory = { ran: [], failing: { before: "hook before: no database" } }
      const kit = yield* kitWith(hooks)
      const exit = yield* Effect.exit(kit.run())
      assert.instanceOf(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, PreflightError)
      assert.deepStrictEqual((yield* Ref.get(kit.store)).calls, [])
      assert.deepStrictEqual(events(hooks), ["before", "after"])
      assert.deepInclude(hooks.ran[1], {
        outcome: "not_started",
        result: { version: 1, errors: ["hook before: no database"] }
      })
      const [message] = yield* Ref.get(kit.sent)
      assert.include(message?.title, "nothing was archived on nas")
      assert.deepStrictEqual(message?.about, {
        event: "failure",
        job: "archive",
        task: "run",
        result: { version: 1, errors: ["hook before: no database"] }
      })
    })
  )

  it.effect("an after that fails is a failure of the run, which did its work", () =>
    Effect.gen(function* () {
      const hooks: HooksMemory = { ran: [], failing: { after: "hook after: /x ended with status 1" } }
      const kit = yield* kitWith(hooks)
      const summary = yield* kit.run()
      assert.deepInclude(summary, { archived: 2, failed: 0, hook_error: "hook after: /x ended with status 1" })
      assert.include(kit.lines, "ERROR hook after: /x ended with status 1")
      const [message] = yield* Ref.get(kit.sent)
      assert.strictEqual(message?.title, "zipper: the hook after failed on nas")
      assert.include(message?.message, "- **hook after**: /x ended with status 1")
      assert.deepInclude((yield* archiveState(kit.state)).last_run, {
        outcome: "failed",
        error: "hook after: /x ended with status 1"
      })
      assert.deepInclude((yield* historyOf(kit.state))[0], { outcome: "failed", archived: 2 })
      assert.deepStrictEqual((yield* Ref.get(kit.state.pings)).length, 2)
      // An hour later it is the same failure.
      yield* TestClock.adjust("1 hour")
      yield* kit.run()
      assert.lengthOf(yield* Ref.get(kit.sent), 1)
    })
  )

  it.effect("a failed folder and an after that fails are told together", () =>
    Effect.gen(function* () {
      const hooks: HooksMemory = { ran: [], failing: { after: "hook after: no" } }
      const kit = yield* kitWith(hooks)
      kit.archiver.failures["ABCD"] = [unreadable(false)]
      yield* kit.run()
      assert.deepInclude(hooks.ran[1], { outcome: "failed" })
      const [message] = yield* Ref.get(kit.sent)
      assert.strictEqual(message?.title, "zipper: 1 of 2 folders failed on nas")
      assert.include(message?.message, "**hook after**: no")
    })
  )

  it.effect("none runs where a program is not there, or another run holds the lock", () =>
    Effect.gen(function* () {
      const missing: HooksMemory = { ran: [], missing: "hook after: cannot execute /x" }
      const kit = yield* kitWith(missing)
      assert.instanceOf(yield* Effect.flip(kit.run()), PreflightError)
      assert.deepStrictEqual((yield* Ref.get(kit.store)).calls, [])
      const locked: HooksMemory = { ran: [] }
      const second = yield* kitWith(locked, { held: ["/var/run/zipper.lock"] })
      assert.instanceOf(yield* Effect.flip(second.run()), LockError)
      assert.deepStrictEqual([...missing.ran, ...locked.ran], [])
    })
  )

  it.effect("a signal stops before; after runs all the same, with less time", () =>
    Effect.gen(function* () {
      const began = yield* Deferred.make<void>()
      const hooks: HooksMemory = {
        ran: [],
        during: (event) =>
          event === "before" ? Effect.zipRight(Deferred.succeed(began, undefined), Effect.never) : Effect.void
      }
      const kit = yield* kitWith(hooks)
      const run = yield* Effect.fork(kit.run())
      yield* Deferred.await(began)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(run)))
      assert.deepStrictEqual(events(hooks), ["before", "after"])
      assert.deepInclude(hooks.ran[1], { outcome: "interrupted", briefly: true })
    })
  )

  it.effect("a signal stops after, and the run was stopped", () =>
    Effect.gen(function* () {
      const began = yield* Deferred.make<void>()
      const hooks: HooksMemory = {
        ran: [],
        during: (event) =>
          event === "after" ? Effect.zipRight(Deferred.succeed(began, undefined), Effect.never) : Effect.void
      }
      const kit = yield* kitWith(hooks)
      const run = yield* Effect.fork(kit.run())
      yield* Deferred.await(began)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(run)))
      const { folders, last_run } = yield* archiveState(kit.state)
      assert.strictEqual(last_run.outcome, "interrupted")
      assert.deepStrictEqual(
        folders.map(({ result }) => result),
        ["archived", "archived"]
      )
    })
  )
})

const settings = {
  host: "nas",
  hook_timeout_seconds: 600,
  hooks: { before: ["/x/before", "a b"], failure: ["/x/failure"] }
}

const noDisk = Layer.mock(Disk, { executable: () => Effect.void, head: () => Effect.succeed("") })

/** The hooks of `settings`, whose programs answer so. */
const scripted = (answer: (invocation: Invocation) => Answer, more = {}) => {
  const seen: Array<Invocation> = []
  const { layer } = processFake((_, invocation) => {
    seen.push(invocation)
    return answer(invocation)
  })
  return { seen, layer: Layer.provide(Hooks.layer({ ...settings, ...more }), Layer.merge(layer, noDisk)) }
}

describe("a hook", () => {
  it.effect("gets its arguments, the document, its texts as variables, and no secret", () =>
    Effect.gen(function* () {
      const { layer, seen } = scripted(() => ({}))
      yield* Effect.flatMap(Hooks, ({ run }) =>
        run({ event: "before", title: "a\nb", message: `${"x".repeat(20_000)}\n\0y`, run: "ab12cd" })
      ).pipe(Effect.provide(layer))
      const [{ args, cwd, env, program, stdin, timeoutMillis } = { program: "", args: [] }] = seen
      assert.deepStrictEqual([program, args, cwd, timeoutMillis], ["/x/before", ["a b"], "/", 600_000])
      assert.deepInclude(JSON.parse(stdin ?? ""), { version: 1, event: "before", host: "nas", run: "ab12cd" })
      assert.deepInclude(env, { ZIPPER_EVENT: "before", ZIPPER_HOST: "nas", ZIPPER_RUN: "ab12cd", ZIPPER_TITLE: "a b" })
      assert.lengthOf(env?.["ZIPPER_MESSAGE"] ?? "", 16_000)
    })
  )

  it.effect("that is not configured does nothing; messages of every kind go to failure", () =>
    Effect.gen(function* () {
      const { layer, seen } = scripted(() => ({}))
      yield* Effect.flatMap(Hooks, ({ run }) =>
        Effect.forEach(["after", "failure", "success", "recovery", "test"] as const, (event) => run({ event }))
      ).pipe(Effect.provide(layer))
      assert.deepStrictEqual(
        seen.map(({ env, program }) => [program, env?.["ZIPPER_EVENT"]]),
        ["failure", "success", "recovery", "test"].map((event) => ["/x/failure", event])
      )
    })
  )

  it.effect("that fails is told with its last words; a brief one has half a minute", () =>
    Effect.gen(function* () {
      const { layer, seen } = scripted(() => ({ exitCode: 7, stderr: "zero\nfirst\nno\n\tsuch table\n\n" }))
      const error = yield* Effect.flatMap(Hooks, ({ run }) => Effect.flip(run({ event: "before" }, "briefly"))).pipe(
        Effect.provide(layer)
      )
      assert.strictEqual(error.message, "hook before: /x/before ended with status 7: first; no; such table")
      assert.strictEqual(seen[0]?.timeoutMillis, 30_000)
    })
  )

  it.effect("that prints much fills no log", () =>
    Effect.gen(function* () {
      const log = capturedLog()
      const { layer } = scripted(({ onOutput }) => {
        for (let line = 0; line < 10_000; line += 1) onOutput?.("x".repeat(900), line % 2 === 0 ? "stdout" : "stderr")
        return {}
      })
      yield* Effect.flatMap(Hooks, ({ run }) => run({ event: "before" })).pipe(
        Effect.provide(Layer.merge(layer, log.layer))
      )
      const lines = log.lines.filter((line) => line.includes("hook before: "))
      assert.isBelow(lines.length, 110)
      assert.match(lines.at(-1) ?? "", /prints more than this/)
      assert.isTrue(lines.some((line) => /^WARN/i.test(line)) && lines.some((line) => /^INFO/i.test(line)))
    })
  )

  it.live("need not read what it gets, however much that is", () =>
    Effect.gen(function* () {
      const { run } = yield* Hooks
      const result = "x".repeat(20_000_000)
      yield* run({ event: "before", result })
      assert.include((yield* Effect.flip(run({ event: "after", result }))).message, "ended with status 1")
    }).pipe(
      Effect.provide(Hooks.layer({ ...settings, hooks: { before: ["/bin/true"], after: ["/bin/false"] } })),
      Effect.provide(Layer.merge(Process.layer, Disk.layer))
    )
  )

  it.effect("in a dry run is named, and not started", () =>
    Effect.gen(function* () {
      const log = capturedLog()
      const { calls, layer } = processFake(() => ({}))
      const dry = Layer.provide(Hooks.layerDryRun(settings), Layer.merge(layer, noDisk))
      yield* Effect.gen(function* () {
        const { run } = yield* Hooks
        for (const event of ["before", "after", "failure"] as const) yield* run({ event })
      }).pipe(Effect.provide(Layer.merge(dry, log.layer)))
      assert.deepStrictEqual(calls, [])
      assert.deepStrictEqual(
        log.lines.map((line) => /would run .*/.exec(line)?.[0]),
        ["would run the hook before: /x/before 'a b'", "would run the hook failure: /x/failure"]
      )
    })
  )
})

/** Messages that go through Gotify, unless it is `down`, and through the hook, unless it `refuses`. */
const messengers = Effect.gen(function* () {
  const sent: Array<string> = []
  const state = { down: false, refuses: false }
  const told = ({ message, title }: Pick<Notification, "title" | "message">, way: string) =>
    sent.push(`${way} ${title}: ${message}`)
  const gotify = Layer.succeed(Notifier, {
    send: (notification) =>
      Effect.suspend(() => {
        if (state.down) return new NotifyError({ reason: "Unreachable", message: "no route", transient: true })
        told(notification, "gotify")
        return Effect.void
      }),
    probe: Effect.succeed("Gotify" as const)
  })
  const { layer, seen } = scripted(() => ({ exitCode: state.refuses ? 75 : 0 }))
  const states = yield* Ref.make(noJobStates)
  const run = (reason: string | undefined) =>
    deliver(
      { of: { job: { kind: "archive" }, task: "run" }, reminder_hours: 24 },
      {
        failing: reason === undefined ? [] : [{ name: "ABCD", reason }],
        covers: () => true,
        outcome: reason === undefined ? "ok" : "failed"
      },
      {
        failure: reason === undefined ? undefined : { title: "failed", message: `**ABCD**: ${reason}` },
        document: { a: 1 }
      }
    ).pipe(
      Effect.provide(
        Layer.mergeAll(
          Layer.provide(Hooks.layerNotifier, Layer.merge(gotify, layer)),
          memoryJobStates(states),
          capturedLog().layer
        )
      )
    )
  const hook = () => seen.splice(0).map(({ env }) => `${env?.["ZIPPER_TITLE"]}: ${env?.["ZIPPER_MESSAGE"]}`)
  return { run, state, gotify: () => sent.splice(0), hook, seen }
})

describe("messages", () => {
  it.effect("go both ways, plain through the hook, with the document of the run, once", () =>
    Effect.gen(function* () {
      const { gotify, hook, run, seen } = yield* messengers
      assert.isUndefined(yield* run("it is bad"))
      assert.deepInclude(JSON.parse(seen[0]?.stdin ?? ""), { event: "failure", task: "run", result: { a: 1 } })
      assert.deepStrictEqual(gotify(), ["gotify failed: **ABCD**: it is bad"])
      assert.deepStrictEqual(hook(), ["failed: ABCD: it is bad"])
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(yield* run("it is bad"))
      assert.deepStrictEqual([gotify(), hook()], [[], []])
    })
  )

  it.effect("that one way did not take are tried again there alone", () =>
    Effect.gen(function* () {
      const { gotify, hook, run, state } = yield* messengers
      state.down = true
      assert.strictEqual(yield* run("bad"), "no route")
      assert.deepStrictEqual([gotify(), hook()], [[], ["failed: ABCD: bad"]])
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* run("bad"), "no route")
      assert.deepStrictEqual([gotify(), hook()], [[], []])
      state.down = false
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(yield* run("bad"))
      assert.lengthOf(gotify(), 1)
      assert.deepStrictEqual(hook(), [])
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(yield* run("bad"))
      assert.deepStrictEqual([gotify(), hook()], [[], []])
    })
  )

  it.effect("that the hook refuses are tried again through it, and one that neither took goes both ways", () =>
    Effect.gen(function* () {
      const { gotify, hook, run, seen, state } = yield* messengers
      Object.assign(state, { refuses: true })
      assert.strictEqual(yield* run("bad"), "hook failure: /x/failure ended with status 75")
      assert.lengthOf(gotify(), 1)
      yield* TestClock.adjust("1 hour")
      Object.assign(state, { refuses: false })
      hook()
      assert.isUndefined(yield* run("bad"))
      assert.notProperty(JSON.parse(seen[0]?.stdin ?? ""), "result")
      assert.deepStrictEqual([gotify().length, hook().length], [0, 1])
      yield* TestClock.adjust("1 hour")
      Object.assign(state, { refuses: true, down: true })
      assert.strictEqual(yield* run("another reason"), "no route; hook failure: /x/failure ended with status 75")
      hook()
      yield* TestClock.adjust("1 hour")
      Object.assign(state, { refuses: false, down: false })
      assert.isUndefined(yield* run("another reason"))
      assert.deepStrictEqual([gotify().length, hook().length], [1, 1])
    })
  )

  it("lose their Markdown for the hook, and nothing that a name holds", () => {
    assert.strictEqual(withoutMarkdown("- **A\\_b\\*\\*\\\\c**: x\\#1\n\nrun 1"), "- A_b**\\c: x#1\n\nrun 1")
  })
})
