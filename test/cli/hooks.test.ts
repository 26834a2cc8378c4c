import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { HookDocument } from "../../src/runs/Hooks.ts"
import { type Ended, makePlace, type Place, picture, run, start, toolsFor } from "../support/program/built.ts"
import { isAlive, waitFor } from "../support/program/processes.ts"
import { installed } from "../support/programs.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
  place.put("ABCD/a.txt", "one")
})
afterEach(() => place.remove())

const { files, job } = toolsFor(() => place)

const at = (name: string) => join(place.root, name)
const content = (name: string) => readFileSync(at(name), "utf8")

/** An executable script below the place. */
const script = (name: string, lines: string, first = "#!/bin/sh"): ReadonlyArray<string> => {
  writeFileSync(at(name), `${first}\n${lines}\n`, { mode: 0o755 })
  return [at(name)]
}

/** A script that keeps what it gets: `NAME.json`, `NAME.env`. */
const keeper = (name: string, then = "") =>
  script(name, `cat > ${at(name)}.json; env > ${at(name)}.env; pwd > ${at(name)}.pwd\n${then}`)

/** What a keeper got, held to the schema. */
const got = (name: string) => {
  const found: unknown = JSON.parse(content(`${name}.json`))
  const decoded = Schema.decodeUnknownEither(HookDocument, { onExcessProperty: "error" })(found)
  return Either.getOrThrowWith(decoded, ({ message }) => new Error(message))
}

/** A script that starts a child, both of which ignore SIGTERM where `stubborn`, and hangs. */
const hanging = (name: string, stubborn = true) =>
  script(
    name,
    `${stubborn ? "trap '' TERM" : ""}\necho starting\nsleep 300 & echo $! > ${at(name)}.child; echo $$ > ${at(name)}.pid\nwait; sleep 300`
  )

const pidsOf = (name: string) => ["pid", "child"].map((what) => Number(content(`${name}.${what}`)))
const started = (name: string) =>
  Effect.runPromise(waitFor(() => existsSync(at(`${name}.pid`)) && content(`${name}.pid`) !== ""))
/** The kernel takes a moment for a process that was killed. */
const assertGone = async (name: string) => {
  const gone = waitFor(() => pidsOf(name).every((pid) => !isAlive(pid)))
  assert.isTrue((await Effect.runPromise(Effect.timeoutOption(gone, "5 seconds")))._tag === "Some", name)
}

const log = () => content("zipper.log")

describe("the hooks of a run", () => {
  it("before puts a dump into the archives, after gets the document of --json, and a quiet run prints nothing", async () => {
    mkdirSync(join(place.source, "DUMP"))
    const before = keeper("before", `echo rows > ${place.source}/DUMP/db; echo dumped; echo careful >&2`)
    place.configure({ hooks: { before: [...before, "$HOME", "a b"], after: keeper("after") } })
    const env = { ZIPPER_GOTIFY_TOKEN: "hushhush", MQTT_PASSWORD: "hushhush", LC_ALL: "C.UTF-8" }
    const { status, stderr, stdout } = await run(["run", "--quiet", "--json", "--config", place.config], { env })
    assert.deepStrictEqual([status, stderr], [0, ""])
    assert.include(files("DUMP"), "DUMP.zip")
    assert.deepStrictEqual(got("after").result, JSON.parse(stdout))
    assert.deepInclude(got("after"), { event: "after", job: "archive", task: "run", outcome: "ok" })
    assert.deepInclude(got("before"), { event: "before" })
    for (const name of ["before", "after"]) {
      assert.strictEqual(content(`${name}.pwd`), "/\n")
      assert.include(content(`${name}.env`), `ZIPPER_EVENT=${name}\n`)
      assert.include(content(`${name}.env`), "LC_ALL=C.UTF-8\n")
      assert.notInclude(content(`${name}.env`) + content(`${name}.json`), "hush")
    }
    assert.match(log(), /level=info .*msg="hook before: dumped"/)
    assert.match(log(), /level=warning .*msg="hook before: careful"/)
    assert.deepStrictEqual(await job("--quiet"), { status: 0, stdout: "", stderr: "" })
    assert.include((await job()).stdout, "* hook before: dumped\n")
  })

  it("a before that fails touches nothing; after runs, and failure says why, once", async () => {
    const before = script("before", "echo 'no such database' >&2; exit 4")
    place.configure({ hooks: { before, after: keeper("after"), failure: keeper("failure") } })
    const reason = `hook before: ${before} ended with status 4: no such database`
    assert.deepStrictEqual(await job("--quiet"), { status: 3, stdout: "", stderr: `error: ${reason}\n` })
    assert.deepStrictEqual(files("ABCD"), [])
    assert.deepInclude(got("after"), { outcome: "not_started", result: { version: 1, errors: [reason] } })
    const told = got("failure")
    assert.deepInclude(told, { event: "failure", result: { version: 1, errors: [reason] } })
    assert.match(told.title ?? "", /^zipper: nothing was archived on /)
    assert.include(told.message, reason)
    assert.include(content("failure.env"), `ZIPPER_TITLE=${told.title}\n`)
    assert.include(content("failure.env"), `ZIPPER_MESSAGE=${reason}\n`)
    writeFileSync(at("failure.json"), "")
    assert.strictEqual((await job("--quiet")).status, 3)
    assert.strictEqual(content("failure.json"), "", "the same message again")
    assert.include((await run(["status", "--config", place.config])).stdout, reason)
  })

  it("one that is not there, or cannot be executed, is found before anything is touched, by check too", async () => {
    const manual = await run(["help", "hooks"])
    const words = manual.stdout.replace(/\s+/g, " ")
    assert.include(words, "after and failure too, stops the run before it archives anything (status 3)")
    const plain = at("plain")
    writeFileSync(plain, "#!/bin/sh\n")
    const keep = keeper("before")
    const [windows = "", old = ""] = [...script("windows", "", "#!/bin/sh\r"), ...script("old", "", "#! /none/sh -e")]
    for (const [program, why] of [
      [windows, 'its first line names "/bin/sh\\r", its lines end as on Windows'],
      [old, 'its first line names "/none/sh", which is not there'],
      [at("none"), "no such file or directory (ENOENT)"],
      [plain, "permission denied (EACCES)"],
      [place.root, "is not a regular file"]
    ] as const) {
      place.configure({ hooks: { before: keep, after: [program], failure: [program] } })
      const target = picture(place.target)
      const found = ["after", "failure"].map((name) => `hook ${name}: cannot execute ${program}: ${why}`)
      const line = found.map((one) => `${one}; nothing was archived`).join("\n  ")
      const dry = await job("--quiet", "--dry-run")
      assert.deepStrictEqual(dry, { status: 3, stdout: "", stderr: `error: ${line}\n` })
      assert.strictEqual(picture(place.target), target)
      const checked = await run(["check", "--config", place.config])
      assert.deepInclude(checked, { status: 3, stderr: `error: hooks: ${found.join("\n  ")}\n` })
      const { status, stderr } = await job("--quiet")
      assert.strictEqual(status, 3)
      assert.include(stderr, `error: ${line}\n`)
      assert.isFalse(existsSync(at("before.json")))
      assert.deepStrictEqual(files("ABCD"), [])
    }
  })

  it("check asks Gotify with a hook failure as without one", async () => {
    const gotify = { url: "http://127.0.0.1:9/message", token: "t0ken", timeout_seconds: 1 }
    for (const hooks of [{}, { failure: script("failure", "exit 0") }]) {
      place.configure({ gotify, hooks })
      const { stderr } = await run(["check", "--config", place.config])
      assert.include(stderr, "gotify: Gotify at http://127.0.0.1:9/message cannot be reached")
    }
  })

  it("an after that fails makes the status 1, with one line and a message", async () => {
    place.configure({ hooks: { after: script("after", "exit 9"), failure: keeper("failure") } })
    const reason = `hook after: ${at("after")} ended with status 9`
    const { status, stderr, stdout } = await job("--quiet", "--json")
    assert.deepStrictEqual([status, stderr], [1, `error: ${reason}\n`])
    assert.deepInclude(JSON.parse(stdout), { archived: 1, failed: 0, hook_error: reason })
    assert.match(got("failure").title ?? "", /^zipper: the hook after failed on /)
    assert.match(got("failure").message ?? "", new RegExp(`^- ${reason}\n`))
    const shown = (await run(["status", "--config", place.config])).stdout
    assert.match(shown, /^archive: last run .*: it failed$/m)
    assert.include(shown, reason)
  })

  it("a failure that fails is a message that was not delivered: said, shown by status, tried again", async () => {
    writeFileSync(join(place.source, "ABCD", "a.txt"), "two")
    place.configure({
      hooks: { before: script("before", "exit 1"), failure: script("failure", "echo no mail >&2; exit 75") }
    })
    const { status, stderr } = await job("--quiet")
    const reason = `hook failure: ${at("failure")} ended with status 75: no mail`
    assert.strictEqual(status, 3)
    assert.include(stderr, `could not be delivered, and is tried again after the next run: ${reason}`)
    assert.include((await run(["status", "--config", place.config])).stdout, reason)
    place.configure({ hooks: { failure: keeper("failure") } })
    assert.strictEqual((await job("--quiet")).status, 0)
    assert.include(got("failure").message, "could not be delivered then")
  })

  it("a dry run names them, and starts none", async () => {
    const hooks = { before: script("before", "exit 1"), after: [...keeper("after"), "a b"], failure: keeper("failure") }
    place.configure({ hooks })
    const { status, stdout } = await job("--dry-run")
    assert.strictEqual(status, 0)
    assert.include(stdout, `would run the hook before: ${at("before")}\n`)
    assert.include(stdout, `would run the hook after: ${at("after")} 'a b'\n`)
    assert.isFalse(existsSync(at("after.json")))
  })

  it("that print without end fill no log and no memory", async () => {
    place.configure({
      hooks: { before: script("before", "head -c 50000000 /dev/zero | tr '\\0' x\nyes | head -n 3000000") }
    })
    assert.deepStrictEqual(await job("--quiet"), { status: 0, stdout: "", stderr: "" })
    assert.isBelow(log().length, 200_000)
    assert.include(log(), "hook before: it prints more than this, which is not logged")
  }, 60_000)
})

describe("a hook that hangs", () => {
  it("is ended with its children after its time, also when it ignores SIGTERM", async () => {
    place.configure({ hooks: { before: hanging("before") }, hook_timeout_seconds: 1 })
    const { status, stderr } = await job("--quiet")
    assert.deepStrictEqual(
      [status, stderr],
      [3, `error: hook before: ${at("before")}: was ended after 1 second without a result (hook_timeout_seconds)\n`]
    )
    await assertGone("before")
    assert.include(log(), "hook before: starting")
    place.configure({ hooks: { after: hanging("after", false) }, hook_timeout_seconds: 1 })
    assert.strictEqual((await job("--quiet")).status, 1)
    await assertGone("after")
    assert.include(files("ABCD"), "ABCD.zip")
  }, 60_000)

  const stopped = async (hooks: Record<string, ReadonlyArray<string>>, name: string): Promise<Ended> => {
    place.configure({ hooks })
    const { child, ended } = start(["run", "--quiet", "--config", place.config])
    await started(name)
    child.kill("SIGTERM")
    const end = await ended
    await assertGone(name)
    return end
  }

  it("in before: SIGTERM ends it, and after runs", async () => {
    const { status, stderr } = await stopped({ before: hanging("before", false), after: keeper("after") }, "before")
    assert.deepStrictEqual([status, stderr], [143, "error: stopped by a signal before any folder was archived\n"])
    assert.deepInclude(got("after"), { outcome: "interrupted" })
    assert.deepStrictEqual(files("ABCD"), [])
  }, 60_000)

  it("in before: a run meanwhile ends with 75, and a dry run names the run at work, once, and not as killed", async () => {
    place.configure({ hooks: { before: hanging("before", false) } })
    const { child, ended } = start(["run", "--quiet", "--config", place.config])
    await started("before")
    const second = await job("--quiet")
    const dry = await job("--dry-run")
    child.kill("SIGTERM")
    await ended
    assert.deepStrictEqual([second.status, dry.status], [75, 0])
    const warnings = dry.stderr.split("\n").filter((line) => /at work|came to no end/.test(line))
    assert.deepStrictEqual(
      warnings.map((line) => line.replace(/since .*/, "")),
      [`* warning: another run is at work: pid ${child.pid}, `]
    )
  }, 60_000)

  it("in after: SIGTERM ends it, and what was archived stays", async () => {
    const { status } = await stopped({ after: hanging("after", false) }, "after")
    assert.strictEqual(status, 143)
    assert.include(files("ABCD"), "ABCD.zip")
    assert.include((await run(["status", "--config", place.config])).stdout, "stopped by a signal")
  }, 60_000)

  it("in failure: SIGTERM ends it, with time to clean up, and the next run that fails tells", async () => {
    const before = script("before", "exit 1")
    const failure = script(
      "failure",
      `trap 'sleep 1; touch ${at("cleaned")}; exit' TERM; sleep 300 & echo $! > ${at("failure.child")}; echo $$ > ${at("failure.pid")}; wait`
    )
    const { status } = await stopped({ before, failure }, "failure")
    assert.include([3, 143], status)
    assert.isTrue(existsSync(at("cleaned")))
    place.configure({ hooks: { before, failure: keeper("failure") } })
    assert.strictEqual((await job("--quiet")).status, 3)
    assert.include(got("failure").message, "hook before:")
  }, 60_000)

  it("a second signal leaves nothing of a hook that was told to end", async () => {
    place.configure({ hooks: { before: hanging("before") } })
    const { child, ended } = start(["run", "--quiet", "--config", place.config])
    await started("before")
    child.kill("SIGTERM")
    await new Promise((resolve) => setTimeout(resolve, 1500))
    child.kill("SIGTERM")
    assert.strictEqual((await ended).status, 143)
    await Effect.runPromise(waitFor(() => pidsOf("before").every((pid) => !isAlive(pid))))
  }, 60_000)
})

describe("the hook failure", () => {
  it("gets the messages of verify, pull and prune too, with their documents, and a test", async () => {
    const hooks = { failure: keeper("failure") }
    assert.strictEqual((await job("--quiet")).status, 0)
    const nas = { name: "nas", direction: "pull", host: "nas.invalid", datasets: ["tank/data"], destination: "tank/b" }
    place.configure({ hooks, replication: [{ ...nas, retention: { daily: 7 } }] })
    writeFileSync(join(place.target, "ABCD/ABCD.zip"), "damaged")
    assert.strictEqual((await run(["verify", "--quiet", "--config", place.config])).status, 1)
    assert.deepNestedInclude(got("failure"), { task: "verify", job: "archive", "result.damaged": 1 })
    for (const [command, task] of [
      ["pull", "run"],
      ["prune", "prune"]
    ] as const) {
      const { status } = await run([command, "--job", "nas", "--quiet", "--config", place.config])
      assert.isAbove(status ?? 0, 0)
      assert.deepInclude(got("failure"), { event: "failure", job: "nas", task })
    }
    const tested = await run(["notify-test", "--json", "--quiet", "--config", place.config])
    assert.deepInclude(JSON.parse(tested.stdout), { sent: true, server: at("failure") })
    assert.deepInclude(got("failure"), { event: "test" })
    writeFileSync(at("failure.json"), "")
    const dry = await run(["notify-test", "--dry-run", "--config", place.config])
    assert.include(dry.stdout, `would run the hook failure: ${at("failure")}, with the message: zipper: test message`)
    assert.strictEqual(content("failure.json"), "")
  }, 60_000)

  it("gets recoveries where notify_on asks for them", async () => {
    place.configure({
      notify_on: ["failure", "recovery"],
      hooks: { failure: keeper("failure"), before: script("b", "exit 1") }
    })
    await job("--quiet")
    assert.strictEqual(got("failure").event, "failure")
    place.configure({ notify_on: ["failure", "recovery"], hooks: { failure: keeper("failure") } })
    assert.strictEqual((await job("--quiet")).status, 0)
    assert.deepInclude(got("failure"), { event: "recovery", task: "run" })
    assert.include(got("failure").message, "now they do again")
  })

  it.runIf(installed("curl"))("can be curl with a webhook: the document arrives as it is", async () => {
    const bodies: Array<string> = []
    const server = createServer((request, response) => {
      let body = ""
      request.on("data", (chunk) => (body += String(chunk)))
      request.on("end", () => response.end(String(bodies.push(`${request.headers["content-type"]} ${body}`))))
    }).listen(0, "127.0.0.1")
    await new Promise((resolve) => server.once("listening", resolve))
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    const json = ["--data-binary", "@-", "-H", "Content-Type: application/json"]
    place.configure({ hooks: { failure: ["/usr/bin/curl", "-fsS", ...json, `http://127.0.0.1:${port}/hook`] } })
    const { status, stderr } = await run(["notify-test", "--quiet", "--config", place.config])
    server.close()
    assert.deepStrictEqual([status, stderr], [0, ""])
    assert.match(bodies[0] ?? "", /^application\/json \{\s+"version": 1,\s+"event": "test"/)
  })
})
