/** The variable that names the configuration where no `--config` does. */
export const configVariable = "ZIPPER_CONFIG"

/** Where a configuration is looked for without `--config` and without {@link configVariable}. */
export const defaultConfig = (platform: NodeJS.Platform = process.platform): string =>
  platform === "freebsd" ? "/usr/local/etc/zipper.json" : "/etc/zipper.json"

/** The configuration that a command uses. */
interface FoundConfig {
  readonly path: string
  /** Undefined for `--config`. */
  readonly from: "variable" | "default" | undefined
  /** What a command to be pasted names after `--config`; undefined where it finds this file without. */
  readonly named: string | undefined
}

/** Finds the configuration: `--config`, else ZIPPER_CONFIG (empty is not set), else the default place. The file may not exist. */
export const findConfig = (
  given: string | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
  platform: NodeJS.Platform = process.platform
): FoundConfig => {
  if (given !== undefined) return { path: given, from: undefined, named: given }
  const variable = env[configVariable]
  return variable
    ? { path: variable, from: "variable", named: variable }
    : { path: defaultConfig(platform), from: "default", named: undefined }
}

/** Why there is no configuration, to go after its path; undefined for a path that `--config` could have given. */
export const notThere = (path: string, env?: Readonly<Record<string, string | undefined>>): string | undefined => {
  const { from, path: found } = findConfig(undefined, env)
  if (path !== found) return undefined
  const looked =
    from === "variable"
      ? `does not exist; the variable ${configVariable} names it`
      : `does not exist, and neither --config nor the variable ${configVariable} names another configuration`
  return `${looked}\nmake one with zipper config init`
}
