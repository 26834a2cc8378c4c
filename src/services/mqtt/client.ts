import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { MqttClient } from "mqtt"
import type { Mqtt as MqttSettings } from "../../domain/Config.ts"
import { denial, failure, needsUserName, refusesVersion, timedOut } from "./MqttError.ts"

/** MQTT 5, and 3.1.1, as the protocol numbers them. */
type Version = 5 | 4

/** Host and port of the broker, an IPv6 address in brackets. */
export const addressOf = ({ host, port }: Pick<MqttSettings, "host" | "port">): string =>
  `${host.includes(":") ? `[${host}]` : host}:${port}`

/**
 * One message to one broker; see the tag. MQTT 5 says whether the broker denies a message. Version 3.1.1 confirms a
 * denied message like any other, so it is used only with a broker that refuses version 5.
 */
export const publish = (settings: MqttSettings, message: string) => {
  const broker = addressOf(settings)
  return Effect.gen(function* () {
    const { client, version } = yield* session(settings, broker)
    yield* confirmed(client, settings.topic, message, broker)
    // The broker has the message: a good-bye that goes wrong changes nothing.
    yield* Effect.tryPromise(() => client.endAsync()).pipe(Effect.timeout("1 second"), Effect.ignoreLogged)
    return version
  }).pipe(
    Effect.scoped,
    Effect.timeoutFail({
      duration: `${settings.timeout_seconds} seconds`,
      onTimeout: () => timedOut(broker, settings.timeout_seconds)
    }),
    Effect.flatMap((version) =>
      Effect.logInfo(
        version === 5
          ? `the broker at ${broker} took "${message}" for ${settings.topic}`
          : `the broker at ${broker} received "${message}" for ${settings.topic}; it speaks MQTT 3.1.1 only, which cannot say whether the message was denied`
      )
    )
  )
}

const session = (settings: MqttSettings, broker: string) =>
  connection(settings, 5).pipe(
    Effect.catchAll((cause) => {
      if (!refusesVersion(cause)) return Effect.fail(failure(broker, cause))
      return settings.password !== undefined && settings.username === undefined
        ? Effect.fail(needsUserName(broker))
        : Effect.mapError(connection(settings, 4), (error) => failure(broker, error))
    })
  )

const connection = (settings: MqttSettings, version: Version) =>
  Effect.acquireRelease(open(settings, version), discard).pipe(
    Effect.tap(connected),
    Effect.map((client) => ({ client, version }))
  )

/** Begins to connect. The library is loaded here: no other command has to wait for it. */
const open = ({ host, password, port, timeout_seconds, username }: MqttSettings, protocolVersion: Version) =>
  Effect.promise(async () => {
    const { connect } = await import("mqtt")
    // The library sends no password without a user name, which MQTT 5 allows: an empty name stands for none.
    const name = username ?? (password === undefined ? undefined : "")
    const client = connect({
      protocol: "mqtt",
      protocolVersion,
      host,
      port,
      // Once: the caller decides about another attempt.
      reconnectPeriod: 0,
      // The timeout above comes first; this one ends what it leaves behind.
      connectTimeout: (timeout_seconds + 1) * 1000,
      ...(name === undefined ? {} : { username: name }),
      ...(password === undefined ? {} : { password: Redacted.value(password) })
    })
    // An error without a listener would end the process.
    client.on("error", () => {})
    return client
  })

const connected = (client: MqttClient) =>
  Effect.async<void, unknown>((resume) => {
    let error: unknown = connectionClosed()
    client.once("connect", () => resume(Effect.void))
    client.once("error", (cause) => {
      error = cause
    })
    client.once("close", () => resume(Effect.fail(error)))
  })

/** Sends the message and waits for the broker's confirmation; a broker may also answer with the end of the connection. */
const confirmed = (client: MqttClient, topic: string, message: string, broker: string) =>
  Effect.async<void, unknown>((resume) => {
    let error: unknown = connectionClosed()
    client.once("disconnect", ({ reasonCode }) => {
      if (reasonCode !== undefined && reasonCode >= 0x80) error = { code: reasonCode }
    })
    client.once("error", (cause) => {
      error = cause
    })
    client.once("close", () => resume(Effect.fail(error)))
    client.publish(topic, message, { qos: 1 }, (cause) => {
      if (!cause) return resume(Effect.void)
      // What the library says of a connection that ends has no code; the reason is with the listeners above.
      resume(Effect.fail("code" in cause ? cause : error))
    })
  }).pipe(Effect.mapError((cause) => denial(broker, topic, cause) ?? failure(broker, cause)))

const connectionClosed = () => Object.assign(new Error("it closed the connection"), { code: "ECONNRESET" })

const discard = (client: MqttClient) =>
  Effect.async<void>((resume) => {
    client.end(true, () => resume(Effect.void))
  })
