import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import {
  type AllowSection,
  allowCommand,
  type Grant,
  missing,
  parseAllow,
  permissionsOf,
  roles,
  type Where
} from "../../src/zfs/Allow.ts"

/** As OpenZFS 2.1 prints it. */
const printed = `---- Permissions on dst/a --------------------------------------------
Local+Descendent permissions:
	user bob canmount
---- Permissions on dst ----------------------------------------------
Permission sets:
	@mine mount,snapshot
Create time permissions:
	destroy
Local permissions:
	user bob @mine
Descendent permissions:
	user bob rollback
Local+Descendent permissions:
	group bob create,mount
	everyone receive
`

const bob = { user: "bob", groups: ["bob"], root: false }
const eve = { user: "eve", groups: ["users"], root: false }
const all = ["canmount", "mount", "snapshot", "destroy", "rollback", "create", "receive"]

const lacking = (who: typeof bob, dataset: string, where: Where) =>
  missing(
    who,
    parseAllow(dataset === "dst/a" ? printed : printed.slice(printed.indexOf("---- Permissions on dst -"))),
    dataset,
    all,
    where
  )

describe("parse", () => {
  it("reads what zfs prints", () => {
    assert.deepStrictEqual(parseAllow(printed), [
      {
        dataset: "dst/a",
        sets: new Map(),
        createTime: [],
        grants: [{ who: { _tag: "User", name: "bob" }, permissions: ["canmount"], local: true, descendent: true }]
      },
      {
        dataset: "dst",
        sets: new Map([["@mine", ["mount", "snapshot"]]]),
        createTime: ["destroy"],
        grants: [
          { who: { _tag: "User", name: "bob" }, permissions: ["@mine"], local: true, descendent: false },
          { who: { _tag: "User", name: "bob" }, permissions: ["rollback"], local: false, descendent: true },
          {
            who: { _tag: "Group", name: "bob" },
            permissions: ["create", "mount"],
            local: true,
            descendent: true
          },
          { who: { _tag: "Everyone" }, permissions: ["receive"], local: true, descendent: true }
        ]
      }
    ])
    assert.deepStrictEqual(parseAllow(""), [])
  })

  it("reads names that the system does not know, and such with spaces", () => {
    const text = [
      `---- Permissions on ${"x".repeat(80)} `,
      "Permission sets:",
      "\t@in send",
      "\t@out @in,hold",
      "\t@with space @in,send",
      "Local+Descendent permissions:",
      "\tuser bob @out,@with space",
      "\tuser (unknown: 4242) send",
      "\tgroup domain users @with space,hold",
      ""
    ].join("\n")
    const [section] = parseAllow(text)
    assert.strictEqual(section?.dataset, "x".repeat(80))
    assert.deepStrictEqual(
      [...(section?.sets ?? [])],
      [
        ["@in", ["send"]],
        ["@out", ["@in", "hold"]],
        ["@with space", ["@in", "send"]]
      ]
    )
    assert.deepStrictEqual(
      section?.grants.map(({ permissions, who }) => [who, permissions]),
      [
        [{ _tag: "User", name: "bob" }, ["@out", "@with space"]],
        [{ _tag: "User", name: "(unknown: 4242)" }, ["send"]],
        [{ _tag: "Group", name: "domain users" }, ["@with space", "hold"]]
      ]
    )
  })

  it("passes over what it does not understand", () => {
    assert.deepStrictEqual(
      parseAllow(
        [
          "\tuser bob send",
          "Local permissions:",
          "---- Permissions on tank ---",
          "\tuser bob send",
          "Local permissions:",
          "\trole bob send",
          "\tbob",
          "\t",
          "\tuser bob hold",
          "Permissions of tomorrow:",
          "\tuser bob destroy",
          "Permission sets:",
          "\tmine send"
        ].join("\n")
      ),
      [
        {
          dataset: "tank",
          sets: new Map(),
          createTime: [],
          grants: [{ who: { _tag: "User", name: "bob" }, permissions: ["hold"], local: true, descendent: false }]
        }
      ]
    )
  })

  const word = FastCheck.stringMatching(/^[a-z][a-z0-9._-]{0,8}$/)
  const set = FastCheck.array(word, { minLength: 1, maxLength: 2 }).map((parts) => `@${parts.join(" ")}`)
  /** zfs sorts them: sets come first. */
  const words = FastCheck.uniqueArray(FastCheck.oneof(word, word, set), { minLength: 1, maxLength: 4 }).map((all) =>
    all.toSorted()
  )
  const person = FastCheck.array(word, { minLength: 1, maxLength: 3 }).map((parts) => parts.join(" "))
  const grant: FastCheck.Arbitrary<Grant> = FastCheck.record({
    who: FastCheck.oneof(
      FastCheck.record({ _tag: FastCheck.constantFrom("User" as const, "Group" as const), name: person }),
      FastCheck.constant({ _tag: "Everyone" as const })
    ),
    permissions: words,
    local: FastCheck.boolean(),
    descendent: FastCheck.boolean()
  }).map((each) => (each.local ? each : { ...each, descendent: true }))
  const section: FastCheck.Arbitrary<AllowSection> = FastCheck.record({
    dataset: FastCheck.stringMatching(/^[a-z][a-z0-9_.: /-]{0,80}[a-z0-9]$/),
    sets: FastCheck.array(FastCheck.tuple(set, words), { maxLength: 3 }).map((entries) => new Map(entries)),
    createTime: FastCheck.oneof(FastCheck.constant([]), words),
    grants: FastCheck.array(grant, { maxLength: 5 })
  })

  it.prop("reads back what zfs would print", [FastCheck.array(section, { maxLength: 3 })], ([sections]) => {
    // zfs groups the lines by where they count.
    const grouped = sections.map((each) => ({ ...each, grants: groups(each.grants).flat() }))
    assert.deepStrictEqual(parseAllow(grouped.map(render).join("")), grouped)
  })

  it.prop(
    "breaks on nothing",
    [
      FastCheck.string({
        unit: FastCheck.constantFrom(
          "\t",
          "\n",
          " ",
          "@",
          "-",
          ",",
          "user",
          "Local permissions:",
          "---- Permissions on "
        )
      })
    ],
    ([text]) => {
      parseAllow(text)
    }
  )
})

const groups = (grants: ReadonlyArray<Grant>): ReadonlyArray<ReadonlyArray<Grant>> => [
  grants.filter(({ descendent }) => !descendent),
  grants.filter(({ local }) => !local),
  grants.filter(({ descendent, local }) => local && descendent)
]

/** As zfs(8) prints it. */
const render = ({ createTime, dataset, grants, sets }: AllowSection): string => {
  const head = `---- Permissions on ${dataset} `
  const lines = [head.padEnd(70, "-")]
  if (sets.size > 0) lines.push("Permission sets:", ...Array.from(sets, ([name, of]) => `\t${name} ${of.join(",")}`))
  if (createTime.length > 0) lines.push("Create time permissions:", `\t${createTime.join(",")}`)
  for (const [index, group] of groups(grants).entries()) {
    if (group.length > 0) lines.push(`${["Local", "Descendent", "Local+Descendent"][index]} permissions:`)
    for (const { permissions, who } of group) {
      const subject = who._tag === "Everyone" ? "everyone" : `${who._tag.toLowerCase()} ${who.name}`
      lines.push(`\t${subject} ${permissions.join(",")}`)
    }
  }
  return `${lines.join("\n")}\n`
}

describe("missing", () => {
  it("tells what counts here from what counts below", () => {
    assert.deepStrictEqual(lacking(bob, "dst", "here"), ["canmount", "destroy", "rollback"])
    assert.deepStrictEqual(lacking(bob, "dst", "below"), ["canmount", "snapshot"])
    assert.deepStrictEqual(lacking(bob, "dst", "both"), ["canmount", "snapshot", "destroy", "rollback"])
    assert.deepStrictEqual(lacking(bob, "dst/a", "here"), ["snapshot"])
    assert.deepStrictEqual(lacking(eve, "dst/a", "both"), ["canmount", "mount", "snapshot", "rollback", "create"])
    assert.deepStrictEqual(missing({ ...eve, root: true }, [], "dst", all), [])
    assert.deepStrictEqual(missing(eve, [], "dst", ["send", "hold"]), ["send", "hold"])
  })

  const sections = (text: string) => parseAllow(text.replaceAll("·", "\t"))

  it("looks into sets of sets, defined where they are granted or further up, not below", () => {
    const defined = (at: string) => {
      const sets = "Permission sets:\n·@in send\n·@out @in,hold\n·@loop @loop\n"
      const grants = "Local+Descendent permissions:\n·user bob @out,@loop\n"
      return `---- Permissions on dst/a ---\n${at === "dst/a" ? sets : ""}---- Permissions on dst ---\n${at === "dst" ? sets : ""}${grants}`
    }
    assert.deepStrictEqual(missing(bob, sections(defined("dst")), "dst/a", ["send", "hold"]), [])
    assert.deepStrictEqual(missing(bob, sections(defined("dst/a")), "dst/a", ["send", "hold"]), ["send", "hold"])
    const granted =
      "---- Permissions on dst/a ---\nLocal permissions:\n·user bob @set\n---- Permissions on dst ---\nPermission sets:\n·@set send\n"
    assert.deepStrictEqual(missing(bob, sections(granted), "dst/a", ["send"], "here"), [])
    assert.deepStrictEqual(missing(bob, sections(granted), "dst/a", ["send"], "below"), ["send"])
  })

  it("goes by whole names of users, groups and datasets", () => {
    const text =
      "---- Permissions on dst ---\nLocal+Descendent permissions:\n·user bob smith send\n·group domain users hold\n"
    assert.deepStrictEqual(missing(bob, sections(text), "dst", ["send", "hold"]), ["send", "hold"])
    assert.deepStrictEqual(missing({ ...bob, user: "bob smith" }, sections(text), "dst", ["send", "hold"]), ["hold"])
    assert.deepStrictEqual(
      missing({ ...bob, groups: ["x", "domain users"] }, sections(text), "dst/new", ["send", "hold"]),
      ["send"]
    )
    assert.deepStrictEqual(missing({ ...bob, groups: ["domain users"] }, sections(text), "dst2", ["hold"]), ["hold"])
  })
})

describe("Roles", () => {
  it("writes a command that can be pasted", () => {
    assert.strictEqual(
      allowCommand({ user: "backup", permissions: permissionsOf("send"), dataset: "tank/my data" }),
      "zfs allow -u backup send,hold 'tank/my data'"
    )
    assert.strictEqual(
      allowCommand({ user: "DOM\\a b'c", permissions: ["send"], dataset: "tank" }),
      "zfs allow -u 'DOM\\a b'\\''c' send 'tank'"
    )
  })

  it("joins what several roles need, each permission once", () => {
    assert.deepStrictEqual(permissionsOf("receive", "rollback", "prune"), [
      "receive",
      "create",
      "mount",
      "canmount",
      "userprop",
      "rollback",
      "destroy"
    ])
    for (const role of roles) assert.isAbove(permissionsOf(role).length, 1, role)
    assert.deepStrictEqual(permissionsOf("archive"), ["snapshot", "destroy", "mount", "userprop", "diff"])
  })
})
