import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { Mqtt } from "./Config.ts"
import { issuesOf, linesOf } from "./ConfigIssues.ts"

/** The variable that may hold the password. */
export const passwordVariable = "MQTT_PASSWORD"

const variables: ReadonlyMap<string, string> = new Map([
  ["host", "MQTT_HOST"],
  ["port", "MQTT_PORT"],
  ["username", "MQTT_USERNAME"],
  ["password", passwordVariable]
])

const decode = Schema.decodeUnknownEither(Mqtt, { errors: "all" })

/**
 * The broker of MQTT_HOST, MQTT_PORT, MQTT_USERNAME and MQTT_PASSWORD, held to what the configuration's mqtt section
 * has to be; undefined without a host. An empty variable is one that is not set. Left: what is wrong, a line each.
 */
export const mqttFromEnvironment = (
  env: Readonly<Record<string, string | undefined>>
): Either.Either<Mqtt | undefined, ReadonlyArray<string>> => {
  const given = [...variables].flatMap(([key, variable]) => {
    const value = env[variable]
    return value === undefined || value === "" ? [] : [[key, value] as const]
  })
  if (!given.some(([key]) => key === "host")) return Either.right(undefined)
  const input = Object.fromEntries(
    given.map(([key, value]) => [key, key === "port" && /^[0-9]+$/.test(value) ? Number(value) : value])
  )
  return Either.mapLeft(decode(input), (error) =>
    linesOf(issuesOf(error), ([key]) => variables.get(String(key)) ?? String(key))
  )
}
