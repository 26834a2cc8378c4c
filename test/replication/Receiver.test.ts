import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { makeReceiver } from "../../src/replication/Receiver.ts"
import type { Answer } from "../support/program/processFake.ts"
import { begin, nas, receiver, row, scripted, snapshot } from "../support/replication/replicationEnds.ts"

const token = "1-af6334da1-b0-789c6360"
const guidOf = (name: string) => String(9000 + name.length)
const properties = (name: string, more: Readonly<Record<string, string>> = {}) =>
  Object.entries({
    type: "filesystem\t-",
    guid: `${guidOf(name)}\t-`,
    canmount: "off\tlocal",
    mounted: "no\t-",
    written: "0\t-",
    logicalreferenced: "12288\t-",
    receive_resume_token: "-\t-",
    "zipper:send": "-\t-",
    "zipper:placeholder": "-\t-",
    ...more
  })
    .map(([property, value]) => `${name}\t${property}\t${value}\n`)
    .join("")

const on =
  (got: string, snapshots = "") =>
  (line: string): Answer => ({ stdout: line.startsWith("zfs get") ? got : snapshots })

describe("Receiver", () => {
  it.effect("reads all targets with two commands", () =>
    Effect.gen(function* () {
      const volume = { type: "volume\t-", canmount: "-\t-", mounted: "-\t-", "zipper:send": "raw\tlocal" }
      const got = [
        properties("dst/a", { written: "13312\t-", "zipper:send": "plain\tlocal", canmount: "on\tdefault" }),
        properties("dst/a/b", {
          "zipper:send": "plain\tinherited from dst/a",
          receive_resume_token: `${token}\t-`
        }),
        properties("dst/v 1", volume)
      ].join("")
      const own = [snapshot("2", 9n, { written: 0 }), snapshot("1", 5n, { holds: 1, written: 512 })]
      const marked = [...own.map((each) => row("dst/a", each)), "dst/a#k\t77\t7\t1\t-\t-\t-\n"].join("")
      const { calls, receiver: of } = receiver(on(got, marked))
      const targets = yield* of.tree(["dst/a", "dst/v 1"])
      assert.deepStrictEqual(calls, [
        "zfs get -H -p -r -t filesystem,volume -o name,property,value,source type,guid,canmount,mounted,written,logicalreferenced,receive_resume_token,encryptionroot,pbkdf2salt,origin,keystatus,zipper:send,zipper:placeholder dst/a dst/v 1",
        "zfs list -H -p -r -t snapshot,bookmark -o name,guid,createtxg,creation,userrefs,clones,written -s createtxg dst/a dst/v 1"
      ])
      assert.deepStrictEqual(Object.fromEntries(targets), {
        "dst/a": {
          name: "dst/a",
          kind: "filesystem",
          guid: guidOf("dst/a"),
          snapshots: own.toReversed(),
          bookmarks: [{ name: "k", guid: "77", createtxg: 7n }],
          written: 13312,
          resumeToken: undefined,
          mode: "plain",
          made: false,
          placeholder: false,
          canmount: "on",
          key: undefined
        },
        "dst/a/b": {
          name: "dst/a/b",
          kind: "filesystem",
          guid: guidOf("dst/a/b"),
          snapshots: [],
          bookmarks: [],
          written: 0,
          resumeToken: token,
          mode: undefined,
          made: false,
          placeholder: false,
          canmount: "off",
          key: undefined
        },
        "dst/v 1": {
          name: "dst/v 1",
          kind: "volume",
          guid: guidOf("dst/v 1"),
          snapshots: [],
          bookmarks: [],
          written: 0,
          resumeToken: undefined,
          mode: "raw",
          made: false,
          placeholder: false,
          canmount: undefined,
          key: undefined
        }
      })
    })
  )

  it.effect("reads what opens each target, and what else is opened by its key", () =>
    Effect.gen(function* () {
      const keys = (name: string, root: string, salt: string) =>
        `${name}\tencryptionroot\t${root}\t-\n${name}\tpbkdf2salt\t${salt}\t-\n`
      const own = `${properties("dst/a")}${keys("dst/a", "dst/a", "17")}dst/a\tkeystatus\tunavailable\t-\n`
      const joined = properties("dst/a/b") + keys("dst/a/b", "dst/a", "18")
      const clone = `${properties("dst/l")}${keys("dst/l", "dst/a", "17")}dst/l\torigin\tdst/a@1\t-\n`
      const clear = properties("dst/c") + keys("dst/c", "-", "0")
      const all = receiver(on(own + joined + clone + clear))
      const targets = yield* all.receiver.tree(["dst"])
      assert.lengthOf(all.calls, 1)
      assert.deepStrictEqual(
        [...targets.values()].map(({ key }) => key),
        [
          { root: "dst/a", salt: "17", rootSalt: "17", loaded: false, dependents: [{ name: "dst/a/b", salt: "18" }] },
          { root: "dst/a", salt: "18", rootSalt: "17", loaded: true, dependents: [] },
          { root: "dst/a", salt: "17", rootSalt: "17", loaded: true, dependents: [] },
          undefined
        ]
      )
      // Of one alone, the others have to be asked for.
      const get = "zfs get -H -p"
      const what = "-t filesystem,volume -o name,property,value,source encryptionroot,pbkdf2salt,origin,keystatus"
      const answers =
        (main: string, others: string) =>
        (line: string): Answer => ({
          stdout: line.startsWith("zfs get") ? (line.includes("guid") ? main : others) : ""
        })
      const root = receiver(answers(own, keys("dst/a", "dst/a", "17") + keys("dst/a/b", "dst/a", "18")))
      assert.deepStrictEqual((yield* root.receiver.read("dst/a"))?.key?.dependents, [{ name: "dst/a/b", salt: "18" }])
      assert.strictEqual(root.calls.at(-1), `${get} -r ${what} dst/a`)
      const below = receiver(answers(joined, keys("dst/a", "dst/a", "17")))
      assert.strictEqual((yield* below.receiver.read("dst/a/b"))?.key?.rootSalt, "17")
      assert.strictEqual(below.calls.at(-1), `${get} ${what} dst/a`)
    })
  )

  it.effect("goes on with nothing that zfs does not print", () =>
    Effect.gen(function* () {
      const whole = properties("dst/a")
      const mine = row("dst/a", snapshot("1", 5n, { written: 1 }))
      for (const [got, snapshots, why] of [
        [`Welcome to nas!\n${whole}`, mine, /cannot look at dst\/a: "Welcome to nas!" is not what zfs prints/],
        [whole.slice(0, -10), mine, /cannot look at dst\/a: "dst\/a\\tzipper:pl/],
        [whole.replace(/guid\t\d+/, "guid\t-"), mine, /without type or guid/],
        [properties("dst/a", { encryptionroot: "-rf\t-" }), mine, /"dst\/a\\tencryptionroot\\t-rf" is not/],
        [properties("dst/a", { written: "1G\t-" }), mine, /"dst\/a\\twritten\\t1G" is not/],
        [whole, mine.slice(0, -6), /cannot list the snapshots of dst\/a: "dst\/a@1/],
        [whole, mine.replace("\t5\t", "\t5.0K\t"), /cannot list the snapshots/],
        [whole, mine.replace("@", " "), /cannot list the snapshots/]
      ] as const) {
        const error = yield* Effect.flip(receiver(on(got, snapshots)).receiver.read("dst/a"))
        assert.match(error.message, why)
      }
    })
  )

  it.effect("is not bothered by roots that are not there", () =>
    Effect.gen(function* () {
      const { calls, receiver: of } = receiver(() => ({
        exitCode: 1,
        stderr: "cannot open 'dst/x': dataset does not exist\ncannot open 'nopool': dataset does not exist\n"
      }))
      assert.strictEqual((yield* of.tree(["dst/x", "nopool"])).size, 0)
      assert.isUndefined(yield* of.read("dst/x"))
      assert.strictEqual(calls.length, 2)
    })
  )

  it.effect("takes no list for whole that a lost connection or another failure has cut", () =>
    Effect.gen(function* () {
      const missing = "cannot open 'dst/x': dataset does not exist\n"
      const read = (exitCode: number, stderr: string) =>
        Effect.either(receiver(() => ({ exitCode, stderr, stdout: "" }), nas).receiver.tree(["dst/x"]))
      for (const login of [
        "stty: 'standard input': Inappropriate ioctl",
        "error: no quota for you",
        "cannot open 'x'"
      ]) {
        assert.isTrue(Either.isRight(yield* read(1, `${login}\n${begin}${missing}`)), login)
        assert.isTrue(Either.isLeft(yield* read(1, `${begin}${login}\n${missing}`)), login)
        assert.isTrue(Either.isLeft(yield* read(1, `${missing}${begin}${login}\n`)), login)
      }
      for (const [exitCode, stderr] of [
        [255, missing],
        [143, missing],
        [1, `${missing}cannot iterate filesystems: I/O error\n`],
        [1, `${missing}Segmentation fault\n`],
        [1, "stty: 'standard input': Inappropriate ioctl\n"]
      ] as const) {
        assert.isTrue(Either.isLeft(yield* read(exitCode, stderr)), stderr)
      }
    })
  )

  it.effect("destroys a parent only while it is an empty one of ours", () =>
    Effect.gen(function* () {
      const ours = { "zipper:placeholder": "12288\tlocal" }
      const empty = receiver(on(properties("dst/a", ours)))
      yield* empty.receiver.destroyParent("dst/a")
      assert.strictEqual(empty.calls.at(-1), "zfs destroy dst/a")
      const touched = receiver(on(properties("dst/a", { ...ours, logicalreferenced: "12800\t-" })))
      assert.strictEqual((yield* Effect.flip(touched.receiver.destroyParent("dst/a"))).reason, "Modified")
      assert.isFalse(touched.calls.some((call) => call.includes("destroy")))
      yield* touched.receiver.rename("dst/a", "dst/b c")
      assert.strictEqual(touched.calls.at(-1), "zfs rename dst/a dst/b c")
    })
  )

  it.effect("knows a placeholder only while nobody can have touched it", () =>
    Effect.gen(function* () {
      const placeholder = { "zipper:placeholder": "12288\tlocal", written: "24576\t-" }
      const of = (more: Readonly<Record<string, string>>, snapshots = "") =>
        Effect.map(
          receiver(on(properties("dst/a", { ...placeholder, ...more }), snapshots)).receiver.read("dst/a"),
          (found) => found?.placeholder
        )
      assert.isTrue(yield* of({}))
      assert.isFalse(yield* of({ "zipper:placeholder": "12288\tinherited from dst" }))
      assert.isFalse(yield* of({ "zipper:placeholder": "new\tlocal" }))
      assert.isFalse(yield* of({ logicalreferenced: "12800\t-" }))
      assert.isFalse(yield* of({ canmount: "on\tdefault" }))
      assert.isFalse(yield* of({ mounted: "yes\t-" }))
      assert.isFalse(yield* of({}, row("dst/a", snapshot("1", 1n, { written: 1 }))))
      const { receiver: snapped } = receiver(
        on(properties("dst/a", placeholder), row("dst/a", snapshot("1", 1n, { written: 1 })))
      )
      assert.isTrue((yield* snapped.read("dst/a"))?.made)
    })
  )

  it.effect("makes a parent that cannot be mounted, and marks it with its size", () =>
    Effect.gen(function* () {
      const { calls, receiver: of } = receiver(
        (line) => (line.startsWith("ssh: zfs get") ? { stdout: "12288\n" } : {}),
        nas
      )
      yield* of.createParent("dst/a b")
      assert.deepStrictEqual(calls, [
        "ssh: zfs create -o 'canmount=off' -o 'zipper:placeholder=new' 'dst/a b'",
        "ssh: zfs get -H -p -o value logicalreferenced 'dst/a b'",
        "ssh: zfs set 'zipper:placeholder=12288' 'dst/a b'"
      ])
      const exists = receiver(() => ({
        exitCode: 1,
        stderr: "cannot create 'dst/a': dataset already exists\n"
      }))
      yield* exists.receiver.createParent("dst/a")
      assert.strictEqual(exists.calls.length, 1)
      const denied = receiver(() => ({ exitCode: 1, stderr: "cannot create 'dst/a': permission denied\n" }))
      assert.match(
        (yield* Effect.flip(denied.receiver.createParent("dst/a"))).message,
        /root can grant it: zfs allow -u \S+ receive,create,mount,canmount,userprop 'dst'$/
      )
    })
  )

  it.effect("marks a parent whose making is interrupted, unless the other host takes long", () =>
    Effect.gen(function* () {
      for (const [seconds, marked] of [
        [3, true],
        [3600, false]
      ] as const) {
        const { calls, process } = scripted(() => ({ stdout: "12288\n" }))
        const asked = yield* Deferred.make<void>()
        const run: typeof process.run = (invocation) =>
          Effect.tap(process.run(invocation), () =>
            calls.at(-1)?.includes("zfs get") === true
              ? Effect.zipRight(Deferred.succeed(asked, undefined), Effect.sleep(Duration.seconds(seconds)))
              : Effect.void
          )
        const making = yield* Effect.fork(makeReceiver({ ...process, run }, nas).createParent("dst/a"))
        yield* Deferred.await(asked)
        const stopping = yield* Effect.fork(Fiber.interrupt(making))
        yield* TestClock.adjust("2 seconds")
        assert.isNull(yield* Fiber.poll(stopping).pipe(Effect.map(Option.getOrNull)))
        yield* TestClock.adjust("4 seconds")
        assert.isTrue(Exit.isInterrupted(yield* Fiber.join(stopping)))
        assert.strictEqual(calls.length, marked ? 3 : 2)
      }
    })
  )

  it.effect("throws away what was half received; nothing there is no failure", () =>
    Effect.gen(function* () {
      const of = (answer: Answer) => receiver(() => answer).receiver.abort("dst/a")
      yield* of({})
      yield* of({ exitCode: 1, stderr: "'dst/a' does not have any resumable receive state to abort\n" })
      const denied = yield* Effect.flip(
        of({ exitCode: 1, stderr: "cannot destroy 'dst/a/%recv': permission denied\n" })
      )
      assert.strictEqual(denied.reason, "PermissionDenied")
      assert.strictEqual(
        denied.message,
        "cannot throw away what an interrupted receive left of dst/a: cannot destroy 'dst/a/%recv': permission denied; root can, once: zfs receive -A 'dst/a'"
      )
      const busy = yield* Effect.flip(of({ exitCode: 1, stderr: "cannot destroy 'dst/a': dataset is busy\n" }))
      assert.deepInclude(busy, { reason: "Busy", transient: true })
    })
  )

  const [s1, s2, s3] = [snapshot("1", 1n), snapshot("2", 2n), snapshot("3", 3n)]
  const back = (there: ReadonlyArray<string>, destroys: ReadonlyArray<typeof s1>, answer: Answer = {}) => {
    const guids = new Map(there.map((line) => line.split("\t")).map(([name, guid]) => [name, guid]))
    const { calls, receiver: of } = receiver((line) => {
      if (line.startsWith("zfs list -H -p -t snapshot -o guid,userrefs,clones")) {
        return { stdout: `${guids.get(line.split(" ").at(-1))}\t0\t-\n` }
      }
      return line.startsWith("zfs list") ? { stdout: there.join("") } : answer
    })
    return { calls, done: of.rollback("dst/a", { to: s1, destroys, written: 0 }) }
  }
  const changes = (calls: ReadonlyArray<string>) => calls.filter((line) => !line.startsWith("zfs list"))
  const rows = (...all: ReadonlyArray<typeof s1>) => all.map((each) => row("dst/a", each))

  it.effect("rolls back exactly as planned, by the name that the snapshot has now", () =>
    Effect.gen(function* () {
      const renamed = back(rows({ ...s1, name: "one" }, s2, s3), [s2, s3])
      yield* renamed.done
      // Never -r: it would take along what somebody else makes meanwhile.
      assert.deepStrictEqual(changes(renamed.calls), [
        "zfs destroy dst/a@3",
        "zfs destroy dst/a@2",
        "zfs rollback dst/a@one"
      ])
      const plain = back(rows(s1), [])
      yield* plain.done
      assert.strictEqual(plain.calls.at(-1), "zfs rollback dst/a@1")
      // What was planned to go, and has gone by itself, is no obstacle.
      const gone = back(rows(s1, s3), [s2, s3])
      yield* gone.done
      assert.deepStrictEqual(changes(gone.calls), ["zfs destroy dst/a@3", "zfs rollback dst/a@1"])
    })
  )

  it.effect("refuses to roll back over anything that was not planned, held or cloned", () =>
    Effect.gen(function* () {
      const bookmark = "dst/a#mark\t77\t2\t1795236482\t-\t-\n"
      for (const [there, destroys, reason, why] of [
        [rows(s1, s2, s3), [s2], "Modified", /would also destroy @3, made after/],
        [rows(s1, { ...s2, guid: "999" }), [s2], "Modified", /would also destroy @2/],
        [rows(s2), [s2], "Modified", /not there any more/],
        [rows(s1, { ...s2, holds: 1 }), [s2], "Other", /held or cloned: @2/],
        [rows(s1, { ...s2, clones: ["dst/c"] }), [s2], "Other", /held or cloned: @2/],
        [[...rows(s1, s2), bookmark], [s2], "Other", /bookmarks #mark/]
      ] as const) {
        const { calls, done } = back(there, destroys)
        const error = yield* Effect.flip(done)
        assert.strictEqual(error.reason, reason)
        assert.match(error.message, /^cannot roll dst\/a back to @1: .*; nothing was destroyed$/)
        assert.match(error.message, why)
        assert.strictEqual(calls.length, 1)
      }
      const denied = back(rows(s1), [], {
        exitCode: 1,
        stderr: "cannot rollback 'dst/a': permission denied\n"
      })
      assert.match((yield* Effect.flip(denied.done)).message, /zfs allow -u \S+ rollback,destroy,mount 'dst\/a'$/)
    })
  )

  it.effect("destroys one snapshot, if it is the one that was meant and nobody needs it", () =>
    Effect.gen(function* () {
      const destroy = (listed: Answer) => {
        const { calls, receiver: of } = receiver((line) => (line.includes(" list ") ? listed : {}))
        return { calls, done: of.destroySnapshot("dst/a", s1) }
      }
      const fine = destroy({ stdout: "1001\t0\t-\n" })
      yield* fine.done
      assert.deepStrictEqual(fine.calls, [
        "zfs list -H -p -t snapshot -o guid,userrefs,clones dst/a@1",
        "zfs destroy dst/a@1"
      ])
      yield* destroy({ exitCode: 1, stderr: "cannot open 'dst/a@1': dataset does not exist\n" }).done
      for (const [stdout, why] of [
        ["1002\t0\t-\n", /another snapshot has taken its name/],
        ["1001\t1\t-\n", /is held/],
        ["1001\t0\tdst/c,dst/d\n", /has clones: dst\/c, dst\/d/]
      ] as const) {
        const { calls, done } = destroy({ stdout })
        assert.match((yield* Effect.flip(done)).message, why)
        assert.strictEqual(calls.length, 1)
      }
    })
  )
})
