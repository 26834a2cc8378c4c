import { createServer, type Server, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Aedes } from "aedes"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import { type Mqtt as MqttSettings, mqttFromEnvironment } from "../../src/config/Config.ts"
import { Mqtt, suspend } from "../../src/suspend/Suspend.ts"
import { type Answers, mqtt5Broker, type Received } from "../support/servers/mqttBroker.ts"

const settings: MqttSettings = {
  host: "127.0.0.1",
  port: 1,
  topic: "servers/host-backups",
  timeout_seconds: 10
}

/** A server of our own, with everything closed at the end. */
const listening = (onConnection: (socket: Socket) => void, host = "127.0.0.1") =>
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<{ readonly server: Server; readonly sockets: Set<Socket>; readonly port: number }>((resolve) => {
          const sockets = new Set<Socket>()
          const server = createServer((socket) => {
            sockets.add(socket)
            socket.on("close", () => sockets.delete(socket))
            onConnection(socket)
          })
          server.listen(0, host, () => {
            const address = server.address()
            resolve({
              server,
              sockets,
              port: address !== null && typeof address === "object" ? address.port : 0
            })
          })
        })
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

/** A real broker, of MQTT 3.1.1, that keeps what clients publish. */
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

/** A broker of MQTT 5 that answers as it is told. */
const broker5 = (answers: Partial<Answers>, host?: string) =>
  Effect.gen(function* () {
    const received: Received = { connects: [], topics: [] }
    const { port } = yield* listening(mqtt5Broker({ connect: 0, publish: 0, ...answers }, received), host)
    return { port, received }
  })

/** What is logged while `effect` runs. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.as(Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)), lines)
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

  it.scopedLive("says of a broker of MQTT 3.1.1 alone that a denial cannot be seen", () =>
    Effect.gen(function* () {
      const { port } = yield* broker
      assert.deepStrictEqual(yield* logged(publish({ port })), [
        `the broker at 127.0.0.1:${port} received "suspend" for servers/host-backups; it speaks MQTT 3.1.1 only, which cannot say whether the message was denied`
      ])
    })
  )

  it.scopedLive.each([0, 0x10])("says that a broker of MQTT 5 took the message (PUBACK %i)", (code) =>
    Effect.gen(function* () {
      const { port, received } = yield* broker5({ publish: code })
      assert.deepStrictEqual(yield* logged(publish({ port })), [
        `the broker at 127.0.0.1:${port} took "suspend" for servers/host-backups`
      ])
      assert.deepStrictEqual(received.topics, ["servers/host-backups"])
      assert.deepStrictEqual(
        received.connects.map(({ level }) => level),
        [5]
      )
    })
  )

  for (const [how, answers] of [
    ["PUBACK", { publish: 0x87 }],
    ["DISCONNECT", { disconnect: 0x87 }]
  ] as const) {
    it.scopedLive(`says that the broker denied the message (${how})`, () =>
      Effect.gen(function* () {
        const { port, received } = yield* broker5(answers)
        const error = yield* Effect.flip(publish({ port }))
        assert.strictEqual(error.reason, "Refused")
        assert.strictEqual(
          error.message,
          `the MQTT broker at 127.0.0.1:${port} denied the message for servers/host-backups: this user may not publish there (reason code 0x87)`
        )
        // A denial is no reason to ask again in a version that cannot say so.
        assert.lengthOf(received.connects, 1)
      })
    )
  }

  it.scopedLive("says that the connection ended before the message was confirmed", () =>
    Effect.gen(function* () {
      const { port, received } = yield* broker5({ publish: undefined })
      const error = yield* Effect.flip(publish({ port }))
      assert.strictEqual(error.reason, "Unreachable")
      assert.include(error.message, "closed the connection")
      assert.lengthOf(received.connects, 1)
    })
  )

  it.scopedLive.each([0x84, 1, undefined])("asks again in MQTT 3.1.1 where 5 is refused (CONNACK %s)", (code) =>
    Effect.gen(function* () {
      const { port, received } = yield* broker5({ connect: code })
      const error = yield* Effect.flip(publish({ port }))
      assert.deepStrictEqual(
        received.connects.map(({ level }) => level),
        [5, 4]
      )
      assert.strictEqual(error.message.includes("closed the connection"), code === undefined)
      assert.strictEqual(error.reason, code === undefined ? "Unreachable" : "Refused")
    })
  )

  it.scopedLive("does not ask again where the login is refused", () =>
    Effect.gen(function* () {
      const { port, received } = yield* broker5({ connect: 0x86 })
      const error = yield* Effect.flip(publish({ port }))
      assert.strictEqual(error.reason, "Refused")
      assert.include(error.message, "the user name or the password is wrong")
      assert.lengthOf(received.connects, 1)
    })
  )

  it.scopedLive("takes a password without a user name, except in MQTT 3.1.1", () =>
    Effect.gen(function* () {
      const password = Redacted.make("s3cret")
      const five = yield* broker5({})
      yield* publish({ port: five.port, password })
      assert.include(five.received.connects[0]?.packet.toString("latin1"), "s3cret")

      const { port, published } = yield* broker
      const error = yield* Effect.flip(publish({ port, password }))
      assert.strictEqual(error.reason, "Refused")
      assert.include(error.message, "a password needs a user name: set MQTT_USERNAME")
      assert.notInclude(error.message, "s3cret")
      assert.deepStrictEqual(published, [])
    })
  )

  it.scopedLive("publishes over IPv6, with the address in brackets or without", () =>
    Effect.gen(function* () {
      const { port, received } = yield* broker5({}, "::1")
      for (const host of ["::1", "[::1]"]) {
        const found = yield* mqttFromEnvironment({ MQTT_HOST: host, MQTT_PORT: String(port) })
        assert.deepStrictEqual(yield* logged(publish({ ...found })), [
          `the broker at [::1]:${port} took "suspend" for servers/host-backups`
        ])
      }
      assert.lengthOf(received.topics, 2)
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
