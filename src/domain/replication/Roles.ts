/** What somebody who is not root may be there for, on one of the two ends. */
export type Role = "archive" | "send" | "receive" | "rollback" | "prune" | "prepare"

export const roles: ReadonlyArray<Role> = ["archive", "send", "receive", "rollback", "prune", "prepare"]

// As measured on OpenZFS 2.1. Without `hold`, `zfs send -I` sends an empty stream and exits 0. Whatever destroys or
// makes a dataset wants `mount` too.
const permissions: Readonly<Record<Role, ReadonlyArray<string>>> = {
  archive: ["snapshot", "destroy", "mount", "userprop", "diff"],
  send: ["send", "hold"],
  receive: ["receive", "create", "mount", "canmount", "userprop"],
  rollback: ["rollback", "destroy", "mount"],
  prune: ["destroy", "mount"],
  prepare: ["create", "mount", "canmount", "acltype", "xattr"]
}

/** The permissions that these roles need together, each once. `rollback` is meant to go with `receive`. */
export const permissionsOf = (...wanted: readonly [Role, ...ReadonlyArray<Role>]): ReadonlyArray<string> => [
  ...new Set(wanted.flatMap((role) => permissions[role]))
]

/** The command with which root grants these permissions, ready to be pasted on the end where the dataset is. */
export const allowCommand = (grant: {
  readonly user: string
  readonly permissions: ReadonlyArray<string>
  readonly dataset: string
}): string => {
  const user = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(grant.user) ? grant.user : quote(grant.user)
  return `zfs allow -u ${user} ${grant.permissions.join(",")} ${quote(grant.dataset)}`
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`
