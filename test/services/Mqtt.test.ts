import { createServer, type Server, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Aedes } from "aedes"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import type { Mqtt as MqttSettings } from "../../src/domain/Config.ts"
import { suspend } from "../../src/programs/Suspend.ts"
import { Mqtt } from "../../src/services/Mqtt.ts"

const settings: MqttSettings = {
  host: "127.0.0.1",
  port: 1,
  topic: "servers/host-backups",
  timeout_seconds: 10
}

/** A server of our own, with everything closed at the end. */
const listening = (onConnection: (socket: Socket) => void) =>
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<{ readonly server: Server; readonly sockets: Set<Socket>; readonly port: number }>(
          (resolve) => {
            const sockets = new Set<Socket>()
            const server = createServer((socket) => {
              sockets.add(socket)
              socket.on("close", () => sockets.delete(socket))
              onConnection(socket)
            })
            server.listen(0, "127.0.0.1", () => {
              const address = server.address()
              resolve({
                server,
                sockets,
                port: address !== null && typeof address === "object" ? address.port : 0
              })
            })
          }
        )
    ),
    ({ server, sockets }) =>
      Effect.promise(
        () =>
          new Promise<void>((resolve) => {
            for (const socket of sockets) socket.destroy()
            server.close(() => resolve())
          })
      )
  )

/** A real broker that keeps what clients publish. */
const broker = Effect.gen(function* () {
  const aedes = yield* Effect.acquireRelease(
    Effect.promise(() => Aedes.createBroker()),
    (running) => Effect.promise(() => new Promise<void>((resolve) => running.close(() => resolve())))
  )
  aedes.authenticate = (_client, username, password, done) =>
    done(null, username !== "locked" || password?.toString() === "right")
  const published: Array<string> = []
  aedes.on("publish", (packet, client) => {
    if (client !== null) published.push(`${packet.topic} ${packet.payload.toString()} qos ${packet.qos}`)
  })
  const { port, sockets } = yield* listening((socket) => void aedes.handle(socket))
  return { port, sockets, published }
})

const publish = (changed: Partial<MqttSettings>) =>
  suspend({ ...settings, ...changed }).pipe(Effect.provide(Mqtt.layer))

describe("Mqtt", () => {
  it.scopedLive("publishes to a real broker and lets go of it", () =>
    Effect.gen(function* () {
      const { port, published } = yield* broker
      yield* publish({ port })
      assert.deepStrictEqual(published, ["servers/host-backups suspend qos 1"])
    })
  )

  it.scopedLive("says that the password is wrong, and not which", () =>
    Effect.gen(function* () {
      const { port, published } = yield* broker
      const login = { port, username: "locked", password: Redacted.make("s3cret") }
      const error = yield* Effect.flip(publish(login))
      assert.strictEqual(error.reason, "Refused")
      assert.include(error.message, `127.0.0.1:${port}`)
      assert.notInclude(error.message, "s3cret")
      assert.deepStrictEqual(published, [])
      yield* publish({ ...login, password: Redacted.make("right") })
      assert.lengthOf(published, 1)
    })
  )

  it.scopedLive("says that nobody listens", () =>
    Effect.gen(function* () {
      const { port, server } = yield* listening(() => {})
      yield* Effect.promise(() => new Promise((resolve) => server.close(resolve)))
      const error = yield* Effect.flip(publish({ port }))
      assert.strictEqual(error.reason, "Unreachable")
      assert.include(error.message, `127.0.0.1:${port}`)
      assert.include(error.message, "nothing listens there")
    })
  )

  it.scopedLive("says that the connection was closed", () =>
    Effect.gen(function* () {
      const { port } = yield* listening((socket) => socket.destroy())
      const error = yield* Effect.flip(publish({ port }))
      assert.strictEqual(error.reason, "Unreachable")
      assert.include(error.message, "closed the connection")
    })
  )

  it.scoped("gives up on a server that says nothing, and leaves no connection", () =>
    Effect.gen(function* () {
      let arrived = () => {}
      const arrival = new Promise<void>((resolve) => {
        arrived = resolve
      })
      let left = () => {}
      const departure = new Promise<void>((resolve) => {
        left = resolve
      })
      const { port } = yield* listening((socket) => {
        socket.on("close", () => left())
        socket.resume()
        arrived()
      })
      const running = yield* Effect.fork(Effect.flip(publish({ port })))
      yield* Effect.promise(() => arrival)
      yield* TestClock.adjust("9 seconds")
      assert.isNull(running.unsafePoll())
      yield* TestClock.adjust("1 seconds")
      const error = yield* Fiber.join(running)
      assert.strictEqual(error.reason, "Timeout")
      assert.include(error.message, "10 s")
      yield* Effect.promise(() => departure)
    })
  )
})
