/** The environment variable that may hold the Gotify token. */
export const tokenVariable = "ZIPPER_GOTIFY_TOKEN"

/** The variable that may hold the password. */
export const passwordVariable = "MQTT_PASSWORD"

const secret: ReadonlySet<string> = new Set([tokenVariable, passwordVariable])

/** An environment for other programs, none of which has any use for a secret of ours (and ssh may hand variables on). */
export const withoutSecrets = (
  env: Readonly<Record<string, string | undefined>>
): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !secret.has(name)))
