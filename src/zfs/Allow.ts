import { isWithin } from "./DatasetName.ts"

/** A section of what `zfs allow DATASET` prints: for the dataset, then one for each ancestor that grants anything. */
export interface AllowSection {
  readonly dataset: string
  readonly sets: ReadonlyMap<string, ReadonlyArray<string>>
  readonly createTime: ReadonlyArray<string>
  readonly grants: ReadonlyArray<Grant>
}

export interface Grant {
  readonly who: { readonly _tag: "User" | "Group"; readonly name: string } | { readonly _tag: "Everyone" }
  readonly permissions: ReadonlyArray<string>
  readonly local: boolean
  readonly descendent: boolean
}

type Block = "sets" | "createTime" | Pick<Grant, "local" | "descendent"> | undefined

const blocks: ReadonlyMap<string, Block> = new Map<string, Block>([
  ["Permission sets:", "sets"],
  ["Create time permissions:", "createTime"],
  ["Local permissions:", { local: true, descendent: false }],
  ["Descendent permissions:", { local: false, descendent: true }],
  ["Local+Descendent permissions:", { local: true, descendent: true }]
])

interface Draft extends AllowSection {
  readonly sets: Map<string, ReadonlyArray<string>>
  readonly createTime: Array<string>
  readonly grants: Array<Grant>
}

/** Skips lines that it does not understand: what they may grant counts as missing. Names may hold spaces. */
export const parseAllow = (output: string): ReadonlyArray<AllowSection> => {
  const sections: Array<Draft> = []
  let block: Block
  for (const line of output.split("\n")) {
    const dataset = /^---- Permissions on (.+?)(?: -*)?$/.exec(line)?.[1]
    if (dataset !== undefined) {
      sections.push({ dataset, sets: new Map(), createTime: [], grants: [] })
      block = undefined
    } else if (line.startsWith("\t")) {
      const section = sections.at(-1)
      if (section !== undefined && block !== undefined) readLine(section, block, line.slice(1))
    } else if (line !== "") {
      block = blocks.get(line.trimEnd())
    }
  }
  return sections
}

const readLine = (section: Draft, block: Exclude<Block, undefined>, line: string): void => {
  if (block === "createTime") {
    section.createTime.push(...listOf(line))
    return
  }
  // Sets come first in a list, so that it begins with the first of them, if there is one.
  const set = line.indexOf(" @")
  const space = set === -1 ? line.lastIndexOf(" ") : set
  if (space === -1) return
  const subject = line.slice(0, space)
  const permissions = listOf(line.slice(space + 1))
  if (block === "sets") {
    if (subject.startsWith("@")) section.sets.set(subject, permissions)
  } else {
    const who = whoOf(subject)
    if (who !== undefined) section.grants.push({ who, permissions, ...block })
  }
}

const listOf = (text: string): ReadonlyArray<string> => text.split(",").filter((each) => each !== "")

const whoOf = (subject: string): Grant["who"] | undefined => {
  if (subject === "everyone") return { _tag: "Everyone" }
  if (subject.startsWith("user ")) return { _tag: "User", name: subject.slice(5) }
  return subject.startsWith("group ") ? { _tag: "Group", name: subject.slice(6) } : undefined
}

interface Subject {
  readonly user: string
  readonly groups: ReadonlyArray<string>
  readonly root: boolean
}

/** `both` is for a receiver, which makes datasets in one that exists and then receives into them. */
export type Where = "here" | "below" | "both"

/** Those of `wanted` that are not in force, by what `zfs allow` prints for `dataset` or the nearest one above. */
export const missing = (
  subject: Subject,
  sections: ReadonlyArray<AllowSection>,
  dataset: string,
  wanted: ReadonlyArray<string>,
  where: Where = "both"
): ReadonlyArray<string> => {
  if (subject.root) return []
  const here = where === "below" ? undefined : inForce(subject, sections, dataset, false)
  const below = where === "here" ? undefined : inForce(subject, sections, dataset, true)
  return wanted.filter((each) => here?.has(each) === false || below?.has(each) === false)
}

/** Permissions that count on the dataset, or on what is `below` it, as the kernel gathers them: from the dataset up. */
const inForce = (
  subject: Subject,
  sections: ReadonlyArray<AllowSection>,
  dataset: string,
  below: boolean
): ReadonlySet<string> => {
  const found = new Set<string>()
  // A set that is granted here may be defined here or further up, but not below.
  for (const section of sections.toSorted((a, b) => b.dataset.length - a.dataset.length)) {
    if (!isWithin(dataset, section.dataset)) continue
    const descendent = below || section.dataset !== dataset
    for (const grant of section.grants) {
      if (!(descendent ? grant.descendent : grant.local) || !isFor(subject, grant)) continue
      for (const permission of grant.permissions) found.add(permission)
    }
    if (descendent) for (const permission of section.createTime) found.add(permission)
    // What is added while a Set is walked is walked too: sets in sets.
    for (const permission of found) {
      for (const inside of section.sets.get(permission) ?? []) found.add(inside)
    }
  }
  return found
}

const isFor = ({ groups, user }: Subject, { who }: Grant): boolean =>
  who._tag === "Everyone" || (who._tag === "User" ? who.name === user : groups.includes(who.name))

export const roles = ["archive", "send", "bookmark", "snapshot", "receive", "rollback", "prune", "prepare"] as const
/** `target`: the snapshots of a target. `replace`: a parent that we made, by a replica. */
export type Role = (typeof roles)[number] | "target" | "replace"

// As measured on OpenZFS 2.1. Without `hold`, `zfs send -I` sends an empty stream and exits 0.
const permissions: Readonly<Record<Role, ReadonlyArray<string>>> = {
  archive: ["snapshot", "destroy", "mount", "userprop", "diff"],
  target: ["snapshot", "destroy", "mount", "userprop"],
  send: ["send", "hold"],
  // Without `mount`, `destroy` destroys bookmarks and nothing else.
  bookmark: ["bookmark", "destroy"],
  snapshot: ["snapshot", "userprop"],
  receive: ["receive", "create", "mount", "canmount", "userprop"],
  rollback: ["rollback", "destroy", "mount"],
  replace: ["rename", "create", "mount", "destroy"],
  prune: ["destroy", "mount"],
  prepare: ["create", "mount", "canmount", "acltype", "xattr"]
}

/** What `zfs allow` has to grant for all of these roles, each once. */
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
