import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { MqttClient } from "mqtt"
import type { Mqtt as MqttSettings } from "../../domain/Config.ts"
import { failure, timedOut } from "./MqttError.ts"

/** One message to one broker; see the tag. */
export const publish = (settings: MqttSettings, message: string) => {
  const broker = `${settings.host.includes(":") ? `[${settings.host}]` : settings.host}:${settings.port}`
  return Effect.gen(function* () {
    const client = yield* Effect.acquireRelease(open(settings), discard)
    yield* Effect.mapError(connected(client), (cause) => failure(broker, cause))
    yield* Effect.tryPromise({
      try: () => client.publishAsync(settings.topic, message, { qos: 1 }),
      catch: (cause) => failure(broker, cause)
    })
    // The broker has the message: a good-bye that goes wrong changes nothing.
    yield* Effect.tryPromise(() => client.endAsync()).pipe(Effect.timeout("1 second"), Effect.ignoreLogged)
  }).pipe(
    Effect.scoped,
    Effect.timeoutFail({
      duration: `${settings.timeout_seconds} seconds`,
      onTimeout: () => timedOut(broker, settings.timeout_seconds)
    })
  )
}

/** Begins to connect. The library is loaded here: no other command has to wait for it. */
const open = ({ host, password, port, timeout_seconds, username }: MqttSettings) =>
  Effect.promise(async () => {
    const { connect } = await import("mqtt")
    const client = connect({
      protocol: "mqtt",
      host,
      port,
      // Once: whoever calls us decides about another attempt.
      reconnectPeriod: 0,
      // The timeout above comes first; this one ends what it leaves behind.
      connectTimeout: (timeout_seconds + 1) * 1000,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password: Redacted.value(password) })
    })
    // An error that nobody listens to would end the process.
    client.on("error", () => {})
    return client
  })

const connected = (client: MqttClient) =>
  Effect.async<void, unknown>((resume) => {
    let error: unknown = Object.assign(new Error("it closed the connection"), { code: "ECONNRESET" })
    client.once("connect", () => resume(Effect.void))
    client.once("error", (cause) => {
      error = cause
    })
    client.once("close", () => resume(Effect.fail(error)))
  })

const discard = (client: MqttClient) =>
  Effect.async<void>((resume) => {
    client.end(true, () => resume(Effect.void))
  })
