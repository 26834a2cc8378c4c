/** The machine on which a zfs command runs. */
export type Endpoint = { readonly _tag: "Local" } | Remote

/** A machine that is reached by ssh. */
export interface Remote {
  readonly _tag: "Remote"
  /** Host name, address or an alias of ssh_config(5), without a user. */
  readonly host: string
  /** Whoever ssh takes when left out. */
  readonly user?: string | undefined
  readonly port?: number | undefined
  /** What goes after ssh's `-o`, each: `IdentityFile=/root/.ssh/backup`. They go before our own. */
  readonly options: ReadonlyArray<string>
}

export const local: Endpoint = { _tag: "Local" }

/** For messages: `this host`, `nas`, `backup@nas`. */
export const label = (endpoint: Endpoint): string =>
  endpoint._tag === "Local"
    ? "this host"
    : endpoint.user === undefined
      ? endpoint.host
      : `${endpoint.user}@${endpoint.host}`

/** Before a message about what is at the end of that label: `on nas: `; nothing for this host. */
export const on = (end: string): string => (end === label(local) ? "" : `on ${end}: `)
