import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { MqttClient } from "mqtt"
import type { Mqtt as MqttSettings } from "../config/Config.ts"
import { networkErrors, rootOf } from "../notify/Http.ts"
import { codeOf, explain } from "../system/Errno.ts"

export const suspendMessage = "suspend"

/** Sends the backup hosts, through the broker, the message that they may suspend. Fails with MqttError. */
export const suspend = Effect.fn("Suspend")(function* (settings: MqttSettings) {
  yield* (yield* Mqtt).publish(settings, suspendMessage)
})

/** A message did not reach the broker. Its text never holds the password. */
class MqttError extends Data.TaggedError("MqttError")<{
  readonly reason: "Unreachable" | "Refused" | "Timeout"
  readonly message: string
}> {}

export class Mqtt extends Context.Tag("zipper/Mqtt")<
  Mqtt,
  {
    /** Publishes once, and returns when the broker has confirmed it; a denied message is an error. Logs the answer. */
    readonly publish: (settings: MqttSettings, message: string) => Effect.Effect<void, MqttError>
  }
>() {
  static readonly layer: Layer.Layer<Mqtt> = Layer.sync(Mqtt, () => ({ publish: Effect.fn("Mqtt.publish")(publish) }))

  /** Says what it would publish. */
  static readonly layerDryRun: Layer.Layer<Mqtt> = Layer.succeed(Mqtt, {
    publish: (settings, message) =>
      Effect.logInfo(`would publish "${message}" to ${settings.topic} at ${addressOf(settings)}`)
  })
}

/** MQTT 5, and 3.1.1, as the protocol numbers them. */
type Version = 5 | 4

const addressOf = ({ host, port }: Pick<MqttSettings, "host" | "port">): string =>
  `${host.includes(":") ? `[${host}]` : host}:${port}`

/** MQTT 3.1.1 confirms a denied message like any other, so it is used only with a broker that refuses version 5. */
const publish = (settings: MqttSettings, message: string) => {
  const broker = addressOf(settings)
  return Effect.gen(function* () {
    const { client, version } = yield* session(settings, broker)
    yield* sendAndConfirm(client, settings.topic, message, broker)
    // The broker has the message: a connection that ends badly changes nothing.
    yield* Effect.tryPromise(() => client.endAsync()).pipe(Effect.timeout("1 second"), Effect.ignoreLogged)
    return version
  }).pipe(
    Effect.scoped,
    Effect.timeoutFail({
      duration: `${settings.timeout_seconds} seconds`,
      onTimeout: () =>
        new MqttError({
          reason: "Timeout",
          message: `the MQTT broker at ${broker} did not confirm the message within ${settings.timeout_seconds} s; is it a broker, without TLS, that listens there?`
        })
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
      // MQTT 3.1.1 takes a password only together with a user name.
      return settings.password !== undefined && settings.username === undefined
        ? new MqttError({
            reason: "Refused",
            message: `the MQTT broker at ${broker} speaks MQTT 3.1.1 only, where a password needs a user name: set MQTT_USERNAME, or username in the mqtt section`
          })
        : Effect.mapError(connection(settings, 4), (error) => failure(broker, error))
    })
  )

const connection = (settings: MqttSettings, version: Version) =>
  Effect.acquireRelease(open(settings, version), endNow).pipe(
    Effect.tap(waitForConnection),
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

const waitForConnection = (client: MqttClient) =>
  Effect.async<void, unknown>((resume) => {
    let error: unknown = connectionClosed()
    client.once("connect", () => resume(Effect.void))
    client.once("error", (cause) => {
      error = cause
    })
    client.once("close", () => resume(Effect.fail(error)))
  })

/** A broker may also answer with the end of the connection. */
const sendAndConfirm = (client: MqttClient, topic: string, message: string, broker: string) =>
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
      // The library's error about a connection that ends has no code; the listeners above have the reason.
      resume(Effect.fail("code" in cause ? cause : error))
    })
  }).pipe(Effect.mapError((cause) => denial(broker, topic, cause) ?? failure(broker, cause)))

const connectionClosed = () => Object.assign(new Error("it closed the connection"), { code: "ECONNRESET" })

const endNow = (client: MqttClient) =>
  Effect.async<void>((resume) => {
    client.end(true, () => resume(Effect.void))
  })

/** The broker refuses MQTT 5 with the code of version 5 or of 3.1.1, or closes the connection instead of an answer. */
const refusesVersion = (error: unknown): boolean => {
  const code = returnCode(error)
  return code === 1 || code === 0x84 || code === "ECONNRESET" || code === "EPIPE"
}

const denial = (broker: string, topic: string, error: unknown): MqttError | undefined => {
  const code = returnCode(error)
  if (typeof code !== "number") return undefined
  const why = denials.get(code) ?? "it gives a reason that zipper does not know"
  return new MqttError({
    reason: "Refused",
    message: `the MQTT broker at ${broker} denied the message for ${topic}: ${why} (reason code 0x${code.toString(16).padStart(2, "0")})`
  })
}

/** mqtt.js's errors are not kept as a cause: they may carry the packet with the password. */
const failure = (broker: string, error: unknown): MqttError => {
  const refusal = refusals.get(returnCode(error))
  if (refusal !== undefined) {
    return new MqttError({ reason: "Refused", message: `the MQTT broker at ${broker} refused the login: ${refusal}` })
  }
  const found = rootOf(error)
  const code = codeOf(found)
  const why =
    meanings[code ?? ""] ?? (found instanceof Error && found.message !== "" ? explain(found) : "the connection failed")
  return new MqttError({
    reason: "Unreachable",
    message: `the MQTT broker at ${broker} cannot be reached: ${why}${code === undefined ? "" : ` (${code})`}`
  })
}

const returnCode = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : undefined

/** Return codes of CONNACK in MQTT 3.1.1, and its reason codes in MQTT 5. */
const refusals: ReadonlyMap<unknown, string> = new Map([
  [1, "it speaks neither MQTT 5 nor MQTT 3.1.1"],
  [2, "it does not take our client identifier"],
  [3, "it is not available now"],
  [4, "the user name or the password is wrong"],
  [5, "the user name or the password is missing or wrong, or that user may not connect"],
  [0x80, "it does not say why"],
  [0x81, "it does not understand the request"],
  [0x82, "it sees an error in the protocol"],
  [0x83, "it does not allow it"],
  [0x84, "it speaks neither MQTT 5 nor MQTT 3.1.1"],
  [0x85, "it does not take our client identifier"],
  [0x86, "the user name or the password is wrong"],
  [0x87, "the user name or the password is missing or wrong, or that user may not connect"],
  [0x88, "it is not available now"],
  [0x89, "it is busy"],
  [0x8a, "this client is banned"],
  [0x8c, "it wants another way to log in"],
  [0x95, "the request is too large"],
  [0x97, "a quota is used up"],
  [0x9c, "another server is to be used for now"],
  [0x9d, "it has moved to another server"],
  [0x9f, "there are too many connections at once"]
])

/** Reason codes of PUBACK, and of the DISCONNECT that may come in its place, in MQTT 5. */
const denials: ReadonlyMap<number, string> = new Map([
  [0x80, "it does not say why"],
  [0x83, "it does not allow it"],
  [0x87, "this user may not publish there"],
  [0x89, "it is busy"],
  [0x8b, "it is shutting down"],
  [0x90, "it does not take that topic"],
  [0x95, "the message is too large"],
  [0x96, "there are too many messages at once"],
  [0x97, "a quota is used up"],
  [0x98, "its administrator ended the connection"],
  [0x99, "it does not take what the message holds"],
  [0x9b, "it takes no messages that are to be confirmed (QoS 1)"]
])

const meanings: Readonly<Record<string, string>> = {
  ...networkErrors,
  ECONNRESET: "it closed the connection; is it an MQTT broker, without TLS, and may this user publish there?",
  EPIPE: "it closed the connection"
}
