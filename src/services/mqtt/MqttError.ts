import * as Data from "effect/Data"
import { codeOf, explain } from "../../domain/Errno.ts"

/** A message did not reach the broker. Its text never holds the password. */
export class MqttError extends Data.TaggedError("MqttError")<{
  readonly reason: "Unreachable" | "Refused" | "Timeout"
  readonly message: string
}> {}

/** No end within the time that was given. */
export const timedOut = (broker: string, seconds: number): MqttError =>
  new MqttError({
    reason: "Timeout",
    message: `the MQTT broker at ${broker} did not confirm the message within ${seconds} s; is it a broker, without TLS, that listens there?`
  })

/** What mqtt.js says. Its errors are not kept as a cause: they may carry the packet with the password. */
export const failure = (broker: string, error: unknown): MqttError => {
  const refusal = refusals.get(returnCode(error))
  if (refusal !== undefined) {
    return new MqttError({
      reason: "Refused",
      message: `the MQTT broker at ${broker} refused the login: ${refusal}`
    })
  }
  const found = rootOf(error)
  const code = codeOf(found)
  const why =
    meanings[code ?? ""] ??
    (found instanceof Error && found.message !== "" ? explain(found) : "the connection failed")
  return new MqttError({
    reason: "Unreachable",
    message: `the MQTT broker at ${broker} cannot be reached: ${why}${code === undefined ? "" : ` (${code})`}`
  })
}

const returnCode = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : undefined

/** Return codes of CONNACK in MQTT 3.1.1. */
const refusals: ReadonlyMap<unknown, string> = new Map([
  [1, "it does not speak MQTT 3.1.1"],
  [2, "it does not take our client identifier"],
  [3, "it is not available now"],
  [4, "the user name or the password is wrong"],
  [5, "the user name or the password is missing or wrong, or that user may not connect"]
])

const meanings: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "it closed the connection; is it an MQTT broker, without TLS, and may this user publish there?",
  EPIPE: "it closed the connection",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "the name cannot be looked up now",
  EHOSTUNREACH: "there is no route to the host",
  ENETUNREACH: "the network is unreachable",
  ETIMEDOUT: "the connection timed out"
}

/** Attempts on several addresses of one name fail together. */
const rootOf = (error: unknown): unknown =>
  error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error
