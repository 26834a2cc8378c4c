import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { makeSender, type Resumable } from "../../src/replication/Sender.ts"
import type { Stream } from "../../src/replication/Stream.ts"
import { local } from "../../src/zfs/Endpoint.ts"
import { capturedLog } from "../support/program/log.ts"
import type { Answer } from "../support/program/processFake.ts"
import { begin, nas, scripted, snapshot } from "../support/replication/replicationEnds.ts"

const sender = (answer: (commandLine: string) => Answer, endpoint: Parameters<typeof makeSender>[1] = local) => {
  const { calls, process } = scripted(answer)
  return { calls, sender: makeSender(process, endpoint) }
}

const datasets = `src/a\tfilesystem\t11\toff\t-\t0\t-
src/a/b c\tfilesystem\t12\taes-256-gcm\tsrc\t11217333152148696406\tunavailable
src/a/v\tvolume\t13\toff\t-\t0\t-
`
const snapshots = `src/a@1\t3954394743939869167\t11\t1795236482\t0\t-
src/a#1\t3954394743939869167\t11\t1795236482\t-\t-
src/a/b c@0\t6169378787137697939\t11\t1795236482\t2\tsrc/clone 1,src/d
src/a@3 x\t18267974189908622530\t13\t1795236483\t0\t-
src/a@2\t2167926476367808264\t12\t1795236483\t0\t-
`
const listed = (line: string): Answer => ({
  stdout: line.includes("snapshot,bookmark")
    ? snapshots
    : line.endsWith(" src")
      ? "src\tfilesystem\t10\taes-256-gcm\tsrc\t11\tavailable\n"
      : datasets
})
const missing = "cannot open 'nosuch': dataset does not exist\n"

describe("Sender", () => {
  it.effect("lists everything with two commands, however much there is, and one for keys", () =>
    Effect.gen(function* () {
      const { calls, sender: of } = sender(listed)
      const { datasets, missing } = yield* of.tree(["src/a"])
      assert.deepStrictEqual(calls, [
        "zfs list -H -p -r -t filesystem,volume -o name,type,guid,encryption,encryptionroot,pbkdf2salt,keystatus src/a",
        "zfs list -H -p -r -t snapshot,bookmark -o name,guid,createtxg,creation,userrefs,clones -s createtxg src/a",
        // What opens one of them lies above.
        "zfs list -H -p -t filesystem,volume -o name,type,guid,encryption,encryptionroot,pbkdf2salt,keystatus src"
      ])
      assert.deepStrictEqual(missing, [])
      assert.deepStrictEqual(
        datasets.map(({ encrypted, guid, key, kind, name }) => [name, kind, guid, encrypted, key]),
        [
          ["src/a", "filesystem", "11", false, undefined],
          [
            "src/a/b c",
            "filesystem",
            "12",
            true,
            { root: "src", salt: "11217333152148696406", rootSalt: "11", loaded: false }
          ],
          ["src/a/v", "volume", "13", false, undefined]
        ]
      )
      const [a, b, v] = datasets
      assert.deepStrictEqual(
        a?.snapshots.map(({ name }) => name),
        ["1", "2", "3 x"]
      )
      assert.deepStrictEqual(a?.bookmarks, [{ name: "1", guid: "3954394743939869167", createtxg: 11n }])
      assert.deepStrictEqual(b?.snapshots, [
        {
          name: "0",
          guid: "6169378787137697939",
          createtxg: 11n,
          creation: 1795236482,
          holds: 2,
          clones: ["src/clone 1", "src/d"]
        }
      ])
      assert.deepStrictEqual(v?.snapshots, [])
    })
  )

  it.effect("asks a pool for its state, and whether it was imported read-only", () =>
    Effect.gen(function* () {
      const status = "  pool: src\n state: ONLINE\nconfig:\n\nerrors: No known data errors\n"
      const { calls, sender: of } = sender((line) => ({ stdout: line.startsWith("zpool get") ? "on\n" : status }))
      const { state } = yield* of.pool("src")
      assert.deepStrictEqual([yield* of.isReadOnly("src"), state], [true, "ONLINE"])
      assert.deepStrictEqual(calls, ["zpool status -vp src", "zpool get -H -o value readonly src"])
    })
  )

  it.effect("lists no snapshot that a zfs diff took for as long as it runs", () =>
    Effect.gen(function* () {
      const own = [
        "src/a@1\t1\t11\t1795236482\t0\t-",
        "src/a@zfs-diff-5829-00000001000269eb\t2\t12\t1795236483\t1\t-",
        "src/a@zfs-diff-5830-00000001000269ec\t3\t13\t1795236483\t0\t-",
        "src/a@zfs-diff-new\t4\t14\t1795236483\t1\t-"
      ]
      const { sender: of } = sender((line) =>
        line.includes("snapshot,bookmark") ? { stdout: `${own.join("\n")}\n` } : listed(line)
      )
      const found = yield* of.read("src/a")
      // A user may have taken one of that name, and held one of another.
      assert.deepStrictEqual(
        found?.snapshots.map(({ guid }) => guid),
        ["1", "3", "4"]
      )
    })
  )

  it.effect("tells which roots are missing, and lists the others", () =>
    Effect.gen(function* () {
      const { calls, sender: of } = sender((line) =>
        line.includes("snapshot,bookmark") ? listed(line) : { exitCode: 1, stdout: datasets, stderr: missing }
      )
      const tree = yield* of.tree(["nosuch", "src/a"])
      assert.deepStrictEqual(tree.missing, ["nosuch"])
      assert.strictEqual(tree.datasets.length, 3)
      assert.match(calls[1] ?? "", /-s createtxg src\/a$/)
      const none = sender(() => ({ exitCode: 1, stderr: missing }))
      assert.deepStrictEqual(yield* none.sender.tree(["nosuch"]), { datasets: [], missing: ["nosuch"] })
      assert.strictEqual(none.calls.length, 1)
    })
  )

  it.effect("asks nothing for no roots: zfs would list everything", () =>
    Effect.gen(function* () {
      const { calls, sender: of } = sender(listed)
      assert.deepStrictEqual(yield* of.tree([]), { datasets: [], missing: [] })
      assert.deepStrictEqual(calls, [])
    })
  )

  it.effect("does not take another failure for a missing root", () =>
    Effect.gen(function* () {
      const { sender: of } = sender(() => ({
        exitCode: 1,
        stdout: datasets,
        stderr: `${missing}cannot iterate filesystems: I/O error\n`
      }))
      const error = yield* Effect.flip(of.tree(["nosuch", "src/a"]))
      assert.match(error.message, /^cannot list the datasets of nosuch, src\/a: .*I\/O error$/)
    })
  )

  it.effect("reads one dataset alone, and knows when it is gone", () =>
    Effect.gen(function* () {
      const { calls, sender: of } = sender(listed)
      assert.strictEqual((yield* of.read("src/a"))?.snapshots.length, 3)
      assert.match(calls.join("\n"), /^zfs list -H -p -t .*\nzfs list -H -p -d 1 -t snapshot/)
      const gone = sender(() => ({ exitCode: 1, stderr: missing }))
      assert.isUndefined(yield* gone.sender.read("nosuch"))
    })
  )

  it.effect("knows what a resume token is for, and when it is for nothing", () =>
    Effect.gen(function* () {
      const contents = "resume token contents:\nnvlist version: 0\n\ttoguid = 0x10\n\ttoname = src/a@4\n"
      const of = (answer: Answer) => sender(() => answer).sender.resumable("1-a")
      const resumable: Resumable = { _tag: "Resumable", toGuid: "16", toName: "src/a@4", raw: false }
      assert.deepStrictEqual(yield* of({ stdout: `${contents}size\t5\n` }), resumable)
      assert.deepStrictEqual(yield* of({ stderr: contents, stdout: "size\t5\n" }), resumable)
      for (const reason of [
        "'src/a@4' used in the initial send no longer exists",
        "'src/a@4' is no longer the same snapshot used in the initial send",
        "resume token is corrupt (invalid format)"
      ]) {
        const answer = { exitCode: 255, stderr: `cannot resume send: ${reason}\n${contents}` }
        assert.deepStrictEqual(yield* of(answer), { _tag: "Gone", reason })
        // zfs ends with 255, as ssh does when nobody answers.
        assert.deepStrictEqual(yield* sender(() => answer, nas).sender.resumable("1-a"), {
          _tag: "Gone",
          reason
        })
      }
      // Gone is thrown away: what we do not understand is not.
      const strange = yield* Effect.flip(
        of({ exitCode: 1, stderr: `cannot resume send: unable to access 'src/a@4'\n${contents}` })
      )
      assert.include(strange.message, "unable to access")
      const denied = yield* Effect.flip(
        of({ exitCode: 1, stderr: `cannot resume send: permission denied\n${contents}` })
      )
      assert.strictEqual(denied.reason, "PermissionDenied")
      assert.notMatch(denied.message, /token contents|toguid/)
    })
  )

  it.effect("tells of a flood of words its beginning and its end", () =>
    Effect.gen(function* () {
      const stderr = `the cause\n${"rubbish\n".repeat(8000)}the end\n`
      const { message } = yield* Effect.flip(sender(() => ({ exitCode: 1, stderr })).sender.read("src/a"))
      assert.match(message, /the cause .* \[…\] .* the end$/)
      assert.isBelow(message.length, 2200)
    })
  )

  it.effect("estimates; what is gone by then has vanished", () =>
    Effect.gen(function* () {
      const stream: Stream = { _tag: "Incremental", from: snapshot("1"), to: snapshot("3 x") }
      const { calls, sender: of } = sender(() => ({
        stdout: "incremental\t1\tsrc/a@2\t3028728\nincremental\t2\tsrc/a@3 x\t624\nsize\t3029352\n"
      }))
      assert.strictEqual(yield* of.estimate("src/a", stream, "raw"), 3029352)
      assert.deepStrictEqual(calls, ["zfs send -w -nvP -I src/a@1 src/a@3 x"])
      const stderr = "cannot open 'src/a@1': dataset does not exist\n"
      const gone = yield* Effect.flip(
        sender(() => ({ exitCode: 1, stderr }), nas).sender.estimate("src/a", stream, "raw")
      )
      assert.strictEqual(gone.reason, "Vanished")
      assert.strictEqual(
        gone.message,
        "on backup@nas: cannot estimate the size of src/a@1..@3 x: cannot open 'src/a@1': dataset does not exist"
      )
      const silent = yield* Effect.flip(sender(() => ({})).sender.estimate("src/a", stream, "raw"))
      assert.match(silent.message, /names no size$/)
    })
  )

  it.effect("tells who it is, and notices a login that talks", () =>
    Effect.gen(function* () {
      const { calls, sender: of } = sender(() => ({ stdout: "1000\nj\xc3\xb6rg\nj\xc3\xb6rg wheel\n" }), nas)
      assert.deepStrictEqual(yield* of.account, { user: "jörg", groups: ["jörg", "wheel"], root: false })
      assert.match(calls[0] ?? "", /^ssh: sh -c 'id -u; id -un /)
      assert.strictEqual((yield* sender(() => ({ stdout: "0\nroot\nroot\n" })).sender.account).root, true)
      const loud = yield* Effect.flip(sender(() => ({ stdout: "Welcome!\n0\nroot\nroot\n" }), nas).sender.account)
      assert.match(loud.message, /^on backup@nas: the login prints "Welcome!.*\.bashrc.* print nothing/)
    })
  )

  it.effect("logs once what the login prints on stderr, and at debug what ssh says of a connection that works", () =>
    Effect.gen(function* () {
      const login = `** WARNING: no post-quantum key exchange\nerror: no quota\r\nWelcome\n${begin}`
      const { sender: of } = sender(
        (line) => ({ stderr: login, ...(line.includes("id -u") ? { stdout: "0\nroot\nroot\n" } : listed(line)) }),
        nas
      )
      const logged = capturedLog()
      yield* Effect.zipRight(of.account, of.tree(["src/a"])).pipe(
        Effect.provide(Layer.merge(logged.layer, Logger.minimumLogLevel(LogLevel.Debug)))
      )
      const said = "backup@nas prints at the login: error: no quota Welcome"
      assert.deepStrictEqual(
        logged.lines.filter((line) => !line.startsWith("Debug")),
        [`Info: ${said}`]
      )
      assert.include(logged.lines, "Debug: ssh prints: ** WARNING: no post-quantum key exchange")
      assert.include(logged.lines, `Debug: ${said}`)
    })
  )

  it.effect("takes a login that runs something else for no end that answers", () =>
    Effect.gen(function* () {
      const of = (answer: Answer) => {
        const { process } = scripted(() => ({ ...answer, began: false }))
        return Effect.flip(makeSender(process, nas).account)
      }
      const advice =
        "; the user needs a login shell such as /bin/sh, and no ForceCommand (sshd_config) or command= (authorized_keys)"
      const other = yield* of({ exitCode: 1, stdout: "This account is currently not available.\n" })
      assert.strictEqual(
        other.message,
        `backup@nas runs something else than the command that it is given: exit status 1, and it printed "This account is currently not available."${advice}`
      )
      assert.deepInclude(other, { reason: "Unreachable", transient: false })
      const silent = yield* of({ exitCode: 0 })
      assert.match(silent.message, /given: exit status 0, and nothing was printed; the user needs/)
      // As ssh ends that could not log in.
      assert.match(
        (yield* of({ exitCode: 255, stderr: "a banner\n" })).message,
        /^backup@nas runs .*status 255, .*a banner/
      )
      assert.match((yield* of({ exitCode: 255 })).message, /^cannot reach backup@nas: the connection was lost$/)
    })
  )

  it.effect("grants, and says what root has to run where we may not", () =>
    Effect.gen(function* () {
      const { calls, sender: of } = sender(() => ({}), nas)
      yield* of.grant("backup", ["send", "hold"], "tank/my data")
      assert.deepStrictEqual(calls, ["ssh: zfs allow -u backup send,hold 'tank/my data'"])
      const denied = sender(
        () => ({ exitCode: 1, stderr: "cannot set permissions on 'tank': permission denied\n" }),
        nas
      )
      const error = yield* Effect.flip(denied.sender.grant("backup", ["send", "hold"], "tank"))
      assert.strictEqual(
        error.message,
        "on backup@nas: cannot grant permissions on tank as backup: root can: zfs allow -u backup send,hold 'tank'"
      )
    })
  )

  it.effect("names the end, the permissions of its role, and who needs them", () =>
    Effect.gen(function* () {
      const { sender: of } = sender(
        (line) =>
          line.includes("id -u")
            ? { stdout: "7\nalias\nalias\n" }
            : { exitCode: 1, stderr: "cannot open 'tank': permission denied\n" },
        { _tag: "Remote", host: "nas", options: [] }
      )
      yield* of.account
      const error = yield* Effect.flip(of.allowed("tank"))
      assert.strictEqual(
        error.message,
        "on nas: cannot read the permissions on tank: cannot open 'tank': permission denied; root on nas can grant it: zfs allow -u alias send,hold 'tank'"
      )
      assert.strictEqual(of.label, "nas")
    })
  )
})
