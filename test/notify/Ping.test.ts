import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Ping } from "../../src/notify/Ping.ts"
import { capturedLog } from "../support/program/log.ts"
import { type Answer, closedPort, hangs, httpServer, inTurn, status } from "../support/servers/http.ts"

const secret = "c0ffee-uuid"

const pingTo = (origin: string, rest = `/${secret}`) =>
  Ping.pipe(
    Effect.provide(
      Layer.provide(
        Ping.layer({
          url: Redacted.make(`${origin}${rest}`),
          timeoutSeconds: 1,
          pause: "1 millis"
        }),
        FetchHttpClient.layer
      )
    )
  )

/** What a server with these answers saw of one use, and what was said. */
const used = (answer: Answer, use: (ping: typeof Ping.Service) => Effect.Effect<void>, rest?: string) =>
  Effect.gen(function* () {
    const log = capturedLog()
    const { origin, seen } = yield* httpServer(answer)
    yield* use(yield* pingTo(origin, rest)).pipe(Effect.provide(log.layer))
    assert.notInclude(log.all.join("\n"), secret)
    return {
      seen: seen.map(({ method, path }) => `${method} ${path}`),
      bodies: seen.map(({ body }) => body),
      log
    }
  })

describe("Ping", () => {
  it.scopedLive("calls the address at the start, at success and at failure; a query stays at the end", () =>
    Effect.gen(function* () {
      const all = (ping: typeof Ping.Service) =>
        Effect.all([ping.start, ping.success, ping.fail("ABCD: no")], { discard: true })
      const plain = yield* used(status(200), all)
      assert.deepStrictEqual(plain.seen, [`GET /${secret}/start`, `GET /${secret}`, `POST /${secret}/fail`])
      assert.strictEqual(plain.bodies[2], "ABCD: no")
      assert.deepStrictEqual(plain.log.lines, [])
      const queried = yield* used(status(200), all, `/${secret}/?rid=1&x=a%20b`)
      assert.deepStrictEqual(queried.seen, [
        `GET /${secret}/start?rid=1&x=a%20b`,
        `GET /${secret}/?rid=1&x=a%20b`,
        `POST /${secret}/fail?rid=1&x=a%20b`
      ])
    })
  )

  it.scopedLive("tries again what may pass, and gives up with a warning that does not show the address", () =>
    Effect.gen(function* () {
      const mended = yield* used(inTurn(status(500), hangs, status(200)), (ping) => ping.success)
      assert.deepStrictEqual([mended.seen.length, mended.log.lines], [3, []])
      for (const [answer, attempts, says] of [
        [status(500), 3, "answered HTTP 500: it has a problem"],
        [hangs, 3, "did not answer within 1 s"],
        [status(404), 1, "it knows no such check"],
        [status(302, { location: `http://127.0.0.1:1/${secret}` }), 1, "it redirects"]
      ] as const) {
        const { log, seen } = yield* used(answer, (ping) => ping.success)
        assert.lengthOf(seen, attempts)
        assert.lengthOf(log.lines, 1)
        assert.match(log.lines[0] ?? "", /^Warning: the ping \(success\) did not get through: http:.*\/… /)
        assert.include(log.lines[0], says)
      }
    })
  )

  it.scopedLive("where nobody listens it is a warning as well", () =>
    Effect.gen(function* () {
      const log = capturedLog()
      const ping = yield* pingTo(yield* closedPort)
      yield* ping.start.pipe(Effect.provide(log.layer))
      assert.include(log.lines[0], "nothing listens there (ECONNREFUSED)")
      assert.notInclude(log.all.join(), secret)
    })
  )

  it.scopedLive("a long report is cut to what such services take, between characters", () =>
    Effect.gen(function* () {
      const { bodies } = yield* used(status(200), (ping) => ping.fail("é€😀".repeat(5000)))
      const [body = ""] = bodies
      assert.isAtMost(Buffer.byteLength(body), 10_000)
      assert.isAtLeast(Buffer.byteLength(body), 9_900)
      assert.isTrue(body.endsWith("…"))
      assert.notInclude(body, "\ufffd")
    })
  )

  it.scopedLive("user name and password go where they belong", () =>
    Effect.gen(function* () {
      const { origin, seen } = yield* httpServer(status(200))
      const ping = yield* pingTo(origin.replace("//", "//me:pw@"))
      yield* ping.success
      assert.strictEqual(seen[0]?.headers.authorization, `Basic ${Buffer.from("me:pw").toString("base64")}`)
    })
  )
})
