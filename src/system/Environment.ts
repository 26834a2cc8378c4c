export const tokenVariable = "ZIPPER_GOTIFY_TOKEN"

export const passwordVariable = "MQTT_PASSWORD"

const secret: ReadonlySet<string> = new Set([tokenVariable, passwordVariable])

/** An environment for other programs, none of which needs our secrets; ssh may pass variables on. */
export const withoutSecrets = (
  env: Readonly<Record<string, string | undefined>>
): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !secret.has(name)))
