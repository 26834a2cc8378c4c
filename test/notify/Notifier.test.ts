import { inspect } from "node:util"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import * as Tracer from "effect/Tracer"
import { type GotifySettings, type Notification, Notifier, type NotifyError } from "../../src/notify/Notifier.ts"
import { memoryNotifier } from "../doubles/Notifier.ts"
import { capturedLog } from "../support/program/log.ts"
import {
  type Answer,
  breaks,
  closedPort,
  hangs,
  httpServer,
  inTurn,
  says,
  status,
  taken
} from "../support/servers/http.ts"

const secret = "Axj7-hush-hush"

const settingsFor = (url: string, more: Partial<GotifySettings> = {}): GotifySettings => ({
  url,
  token: Redacted.make(secret),
  priority: 5,
  timeout_seconds: 30,
  retries: 0,
  pause: "1 millis",
  ...more
})

const message: Notification = { title: "zipper: 1 folder failed", message: "- **ABCD**: no space left" }

const send = (settings: GotifySettings, notification: Notification = message) =>
  Effect.flatMap(Notifier, (notifier) => notifier.send(notification)).pipe(
    Effect.provide(Notifier.layer(settings).pipe(Layer.provide(FetchHttpClient.layer)))
  )

const probe = (settings: GotifySettings) =>
  Effect.flatMap(Notifier, (notifier) => notifier.probe).pipe(
    Effect.provide(Notifier.layer(settings).pipe(Layer.provide(FetchHttpClient.layer)))
  )

/** Sends to a server that answers so, and gives what the server saw and how it ended. */
const exchange = Effect.fnUntraced(function* (answer: Answer, more: Partial<GotifySettings> = {}) {
  const { origin, seen } = yield* httpServer(answer)
  const exit = yield* Effect.exit(send(settingsFor(`${origin}/message`, more)))
  return { origin, seen, exit, error: errorOf(exit) }
})

const errorOf = (exit: Exit.Exit<unknown, NotifyError>): NotifyError | undefined =>
  Exit.isFailure(exit) ? (Cause.failures(exit.cause).pipe(Array.from<NotifyError>)[0] ?? undefined) : undefined

/** Every way in which an error may come to be printed. */
const everything = (value: Exit.Exit<unknown, unknown>): string =>
  [
    JSON.stringify(value),
    String(value),
    inspect(value, { depth: 20, showHidden: true }),
    ...(Exit.isFailure(value)
      ? [
          Cause.pretty(value.cause, { renderErrorCause: true }),
          ...Array.from(Cause.failures(value.cause), (e) => inspect(e, { depth: 20 }))
        ]
      : [])
  ].join("\n")

describe("Notifier", () => {
  it.scopedLive("posts the message with the token in its header", () =>
    Effect.gen(function* () {
      const { exit, seen } = yield* exchange(taken)
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(seen.length, 1)
      assert.strictEqual(seen[0]?.method, "POST")
      assert.strictEqual(seen[0]?.path, "/message")
      assert.strictEqual(seen[0]?.headers["x-gotify-key"], secret)
      assert.match(String(seen[0]?.headers["content-type"]), /^application\/json/)
      assert.deepStrictEqual(JSON.parse(seen[0]?.body ?? ""), {
        ...message,
        priority: 5,
        extras: { "client::display": { contentType: "text/markdown" } }
      })
    })
  )

  it.scopedLive("takes a proxy's login out of the address", () =>
    Effect.gen(function* () {
      const { origin, seen } = yield* httpServer(taken)
      const url = `${origin.replace("//", "//me:p%40ss@")}/gotify/message`
      yield* send(settingsFor(url), message)
      assert.strictEqual(seen[0]?.headers.authorization, `Basic ${Buffer.from("me:p@ss").toString("base64")}`)
      const { error } = {
        error: errorOf(yield* Effect.exit(send(settingsFor("http://me:hush2@127.0.0.1:1/message?token=hush3"))))
      }
      assert.notMatch(error?.message ?? "hush", /hush/)
    })
  )

  it.scopedLive("tries again on what may pass, as often as it may", () =>
    Effect.gen(function* () {
      const recovered = yield* exchange(inTurn(status(500), breaks, status(429), taken), { retries: 3 })
      assert.isTrue(Exit.isSuccess(recovered.exit))
      assert.strictEqual(recovered.seen.length, 4)
      const given = yield* exchange(status(503), { retries: 2 })
      assert.strictEqual(given.seen.length, 3)
      assert.deepInclude(given.error, { reason: "Rejected", transient: true })
      assert.match(given.error?.message ?? "", /answered HTTP 503: the server, or the proxy before it, has a problem$/)
    })
  )

  it.scopedLive("does not try again on what will not pass, and says what to do", () =>
    Effect.gen(function* () {
      const cases = [
        [401, /HTTP 401: the token is wrong; use the token of a Gotify application/],
        [403, /HTTP 403: the token is wrong/],
        [404, /HTTP 404: nothing takes messages there; gotify.url should end in \/message/],
        [400, /HTTP 400: it does not understand the message/]
      ] as const
      for (const [code, expected] of cases) {
        const { error, seen } = yield* exchange(status(code), { retries: 3 })
        assert.strictEqual(seen.length, 1)
        assert.deepInclude(error, { reason: "Rejected", transient: false })
        assert.match(error?.message ?? "", expected)
      }
    })
  )

  it.scopedLive("does not carry the token to where a redirect points", () =>
    Effect.gen(function* () {
      const elsewhere = yield* httpServer(status(200))
      const { error, seen } = yield* exchange(status(307, { location: `${elsewhere.origin}/message?token=hush4` }), {
        retries: 3
      })
      assert.strictEqual(seen.length, 1)
      assert.deepStrictEqual(elsewhere.seen, [])
      assert.include(error?.message, `it redirects to ${elsewhere.origin}/message, and`)
      assert.strictEqual(error?.transient, false)
    })
  )

  it.scopedLive("says that nothing listens, after its retries", () =>
    Effect.gen(function* () {
      const origin = yield* closedPort
      const error = yield* Effect.flip(send(settingsFor(`${origin}/message`, { retries: 1 })))
      assert.deepInclude(error, { reason: "Unreachable", transient: true })
      assert.strictEqual(
        error.message,
        `Gotify at ${origin}/message cannot be reached: nothing listens there (ECONNREFUSED)`
      )
    })
  )

  it.scopedLive("says that the connection broke", () =>
    Effect.gen(function* () {
      const { error } = yield* exchange(breaks)
      assert.deepInclude(error, { reason: "Unreachable", transient: true })
      assert.match(error?.message ?? "", /cannot be reached: it broke the connection \(\w+\)$/)
    })
  )

  it.scopedLive("does not take an answer that breaks off for a receipt", () =>
    Effect.gen(function* () {
      const half: Answer = (response) => {
        response.writeHead(200, { "content-length": "1000" })
        response.write("{", () => response.socket?.destroy())
      }
      const { error, seen } = yield* exchange(half, { retries: 1 })
      assert.deepInclude(error, { reason: "Unreachable", transient: true })
      assert.strictEqual(seen.length, 2)
      assert.isTrue(Exit.isSuccess((yield* exchange(inTurn(half, taken), { retries: 1 })).exit))
    })
  )

  it.scopedLive("takes a success that is not Gotify's for none, and says what came", () =>
    Effect.gen(function* () {
      const html = { "content-type": "text/html; charset=utf-8" }
      const page = `<!doctype html>\n <title>Log in</title> key ${secret} and ${"x".repeat(2_000_000)}`
      const cases = [
        [
          says(200, page, html),
          /HTTP 200, and this is not Gotify's answer: "<!doctype html> <title>Log in<\/title> key \*\*\* and x+" \(of type "text\/html; charset=utf-8"\)/
        ],
        [says(200, "{}"), /not Gotify's answer: "\{\}" \(of type "application\/json"\)/],
        [says(200, '{"id":"7"}'), /not Gotify's answer/],
        [says(201, ""), /HTTP 201, and this is not Gotify's answer: nothing/],
        [says(204, ""), /HTTP 204, and this is not Gotify's answer: nothing/]
      ] as const
      for (const [answer, expected] of cases) {
        const { error, exit, origin, seen } = yield* exchange(answer, { retries: 3 })
        assert.strictEqual(seen.length, 1)
        assert.deepInclude(error, { reason: "NotGotify", transient: false })
        assert.match(error?.message ?? "", expected)
        assert.include(error?.message ?? "", `${origin}/message`)
        assert.isBelow(error?.message.length ?? 0, 400)
        assert.notInclude(everything(exit), secret)
      }
    })
  )

  it.scoped("gives up on a server that hangs, and closes the connection", () =>
    Effect.gen(function* () {
      const closed = yield* Effect.makeLatch(false)
      const asked = yield* Effect.makeLatch(false)
      const { origin } = yield* httpServer((response) => {
        asked.unsafeOpen()
        response.on("close", () => closed.unsafeOpen())
        hangs(response, 0)
      })
      const fiber = yield* Effect.fork(Effect.flip(send(settingsFor(`${origin}/message`, { timeout_seconds: 7 }))))
      yield* asked.await
      yield* TestClock.adjust("7 seconds")
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { reason: "Timeout", transient: true })
      assert.strictEqual(error.message, `Gotify at ${origin}/message did not answer within 7 s`)
      yield* closed.await
    })
  )

  it.effect("waits longer and longer between attempts, never much more than half a minute", () =>
    Effect.gen(function* () {
      const times: Array<number> = []
      const client = HttpClient.make((request) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          times.push(now)
          return HttpClientResponse.fromWeb(request, new Response(null, { status: 500 }))
        })
      )
      const settings: GotifySettings = {
        url: "http://gotify/message",
        token: Redacted.make(secret),
        priority: 5,
        timeout_seconds: 10,
        retries: 9
      }
      const fiber = yield* Effect.flatMap(Notifier, (notifier) => notifier.send(message)).pipe(
        Effect.provide(Notifier.layer(settings).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))),
        Effect.exit,
        Effect.fork
      )
      yield* TestClock.adjust("1 hour")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      const pauses = times.slice(1).map((time, n) => time - (times[n] ?? 0))
      assert.strictEqual(pauses.length, 9)
      for (const [n, pause] of pauses.entries()) {
        const middle = Math.min(1000 * 2 ** n, 30_000)
        assert.isTrue(pause >= middle * 0.79 && pause <= middle * 1.21, `pause ${n}: ${pause} ms`)
      }
    })
  )

  it.scopedLive("keeps the token out of errors, logs and spans", () =>
    Effect.gen(function* () {
      const log = capturedLog()
      const spans: Array<unknown> = []
      const tracer = Tracer.make({
        context: (f) => f(),
        span: (name, parent, context, links, startTime, kind) => {
          const attributes = new Map<string, unknown>()
          const span: Tracer.Span = {
            _tag: "Span",
            name,
            spanId: name,
            traceId: "t",
            sampled: true,
            parent,
            context,
            links,
            kind,
            attributes,
            status: { _tag: "Started", startTime },
            end: () => {},
            attribute: (key, value) => void attributes.set(key, value),
            event: () => {},
            addLinks: () => {}
          }
          spans.push(span)
          return span
        }
      })
      const origin = yield* closedPort
      const answers = [
        taken,
        says(200, `<p>${secret}</p>`),
        status(401),
        status(500),
        breaks,
        status(302, { location: "/x" })
      ]
      for (const answer of answers) {
        const server = yield* httpServer(answer)
        const exit = yield* Effect.exit(send(settingsFor(`${server.origin}/message`))).pipe(
          Effect.provide(Layer.merge(log.layer, Logger.minimumLogLevel(LogLevel.All))),
          Effect.withTracer(tracer)
        )
        assert.strictEqual(server.seen[0]?.headers["x-gotify-key"], secret)
        assert.notInclude(everything(exit), secret)
      }
      const bad = [
        settingsFor(`${origin}/message`),
        settingsFor(`${origin}/message`, { token: Redacted.make(`${secret}\n`) })
      ]
      for (const settings of bad) {
        const exit = yield* Effect.exit(send(settings)).pipe(
          Effect.provide(Layer.merge(log.layer, Logger.minimumLogLevel(LogLevel.All))),
          Effect.withTracer(tracer)
        )
        assert.isTrue(Exit.isFailure(exit))
        assert.notInclude(everything(exit), secret)
      }
      assert.isNotEmpty(spans)
      assert.notInclude(inspect(spans, { depth: 10 }), secret)
      assert.isNotEmpty(log.all)
      assert.notInclude(log.all.join("\n"), secret)
    })
  )

  it.scopedLive("probes without sending a message or the token", () =>
    Effect.gen(function* () {
      const health = says(200, '{"health":"green","database":"green"}')
      const { origin, seen } = yield* httpServer(
        inTurn(health, status(404), status(500), says(200, "<p>log in</p>"), status(302))
      )
      assert.strictEqual(yield* probe(settingsFor(`${origin}/sub/message`)), "Gotify")
      const noGotify = yield* Effect.flip(probe(settingsFor(`${origin}/sub/message`)))
      assert.match(noGotify.message, /HTTP 404/)
      const error = yield* Effect.flip(probe(settingsFor(`${origin}/sub/message`)))
      assert.match(error.message, /HTTP 500/)
      const page = yield* Effect.flip(probe(settingsFor(`${origin}/sub/message`)))
      assert.match(page.message, /\/sub\/health answered HTTP 200, and this is not Gotify's answer: "<p>log in<\/p>"/)
      assert.strictEqual(yield* probe(settingsFor(`${origin}/elsewhere`)), "Unknown")
      assert.deepStrictEqual(
        seen.map(({ method, path }) => `${method} ${path}`),
        ["GET /sub/health", "GET /sub/health", "GET /sub/health", "GET /sub/health", "HEAD /"]
      )
      assert.isTrue(seen.every(({ headers }) => headers["x-gotify-key"] === undefined))
      const refused = yield* Effect.flip(probe(settingsFor(`${yield* closedPort}/message`)))
      assert.strictEqual(refused.reason, "Unreachable")
    })
  )

  it.effect("only says what it would send in a dry run", () =>
    Effect.gen(function* () {
      const log = capturedLog()
      yield* Effect.flatMap(Notifier, (notifier) => notifier.send(message)).pipe(
        Effect.provide(Layer.merge(Notifier.layerDryRun, log.layer))
      )
      assert.deepStrictEqual(log.lines, [`Info: would send a message: ${message.title}: ${message.message}`])
    })
  )

  it.effect("sends nothing when no server is configured, and the probe says so", () =>
    Effect.gen(function* () {
      const notifier = yield* Notifier
      yield* notifier.send(message)
      const error = yield* Effect.flip(notifier.probe)
      assert.strictEqual(error.reason, "NotConfigured")
    }).pipe(Effect.provide(Notifier.layerNone))
  )

  it.effect("remembers messages for tests", () =>
    Effect.gen(function* () {
      const sent = yield* Ref.make<ReadonlyArray<Notification>>([])
      yield* Effect.flatMap(Notifier, (notifier) => notifier.send(message)).pipe(Effect.provide(memoryNotifier(sent)))
      assert.deepStrictEqual(yield* Ref.get(sent), [message])
    })
  )
})
