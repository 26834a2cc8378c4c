import { tokenVariable } from "./ConfigContradictions.ts"
import { passwordVariable } from "./MqttEnvironment.ts"

const secret: ReadonlySet<string> = new Set([tokenVariable, passwordVariable])

/** An environment for other programs, none of which has any use for a secret of ours (and ssh may hand variables on). */
export const withoutSecrets = (
  env: Readonly<Record<string, string | undefined>>
): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !secret.has(name)))
