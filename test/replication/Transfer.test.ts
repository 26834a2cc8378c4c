import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Stream, StreamProgress, TransferRequest } from "../../src/replication/Stream.ts"
import { makeTransfer, type TransferSettings } from "../../src/replication/Transfer.ts"
import { ProcessError } from "../../src/system/supervise.ts"
import { local } from "../../src/zfs/Endpoint.ts"
import { capturedLog } from "../support/program/log.ts"
import type { Answer } from "../support/program/processFake.ts"
import { begin, nas, scripted, snapshot } from "../support/replication/replicationEnds.ts"

const incremental: Stream = { _tag: "Incremental", from: snapshot("3"), to: snapshot("p3") }
const request: TransferRequest = {
  source: "src/a",
  target: "dst/nas/src/a",
  kind: "filesystem",
  stream: incremental,
  mode: "plain",
  format: "plain",
  onProgress: () => {}
}
const headers = "incremental\t3\tsrc/a@p1\t600\nincremental\tp1\tsrc/a@p3\t400\nsize\t1000\n"

/** A pull, unless the settings say otherwise, in which `zfs send` and `zfs receive` end so. */
const pull = (
  send: Answer,
  receive: Answer = {},
  more: Partial<TransferSettings> & {
    readonly request?: Partial<TransferRequest>
    readonly tool?: Answer
  } = {}
) => {
  const { request: asked, tool = {}, ...settings } = more
  const { calls, process } = scripted((line) =>
    line.includes("zfs send") ? send : line.includes("zfs receive") ? receive : tool
  )
  const transfer = makeTransfer(process, {
    ...{ source: nas, target: local, compress: "none", bandwidth: undefined },
    ...settings
  })
  return { calls, transfer, sent: transfer.send({ ...request, ...asked }) }
}
const failureOf = (...args: Parameters<typeof pull>) => Effect.flip(pull(...args).sent)

// As zfs 2.1.11 and OpenSSH printed them.
const cut = `cannot receive incremental stream: checksum mismatch or incomplete stream.
Partially received snapshot is saved.
A resuming stream can be generated on the sending system by running:
    zfs send -t 1-c9941abf6-d8-789c636064000310a501c49c50360710
`
const incomplete: Answer = { exitCode: 1, stderr: cut }
const kept = "; what was received is kept; the next run goes on from there"

describe("Transfer", () => {
  it.effect("pipes one stream, and tells how far it is", () =>
    Effect.gen(function* () {
      const progress: Array<StreamProgress> = []
      const stderr = `${headers}04:52:27\t500\tsrc/a@p1\n04:52:28\t100\tsrc/a@p3\n`
      const { calls, sent } = pull({ stderr }, {}, { request: { onProgress: (now) => progress.push(now) } })
      assert.deepStrictEqual(yield* sent, { bytes: 1000 })
      assert.deepStrictEqual(calls, [
        "ssh: zfs send -vP -I src/a@3 src/a@p3",
        "zfs receive -u -s -o canmount=off -o zipper:send=plain dst/nas/src/a"
      ])
      assert.deepStrictEqual(
        progress.map(({ sent }) => sent),
        [0, 500, 700, 1000]
      )
      assert.isTrue(progress.every(({ total }) => total === 1000))
    })
  )

  it.effect("pushes", () =>
    Effect.gen(function* () {
      const push = { source: local, target: nas, request: { mode: "raw", format: "raw", kind: "volume" } } as const
      const { calls, sent } = pull({ stderr: headers }, {}, push)
      yield* sent
      assert.deepStrictEqual(calls, [
        "zfs send -w -vP -I src/a@3 src/a@p3",
        "ssh: zfs receive -u -s -o 'zipper:send=raw' dst/nas/src/a"
      ])
    })
  )

  it.effect("takes no failed sender for a success, however content the receiver is", () =>
    Effect.gen(function* () {
      const killed = yield* failureOf({ exitCode: 137 })
      assert.strictEqual(
        killed.message,
        "on backup@nas: cannot send src/a@3..@p3: zfs ended with exit status 137 and no message"
      )
      assert.isTrue(killed.transient)
      // Without the permission to hold, this is what -I does; the first is what any stream does without `send`.
      for (const stderr of [
        "warning: cannot send 'src/a@1': permission denied\n",
        `${headers}cannot hold: permission denied\ncannot send 'src/a': permission denied\n`
      ]) {
        const denied = yield* failureOf({ exitCode: 0, stderr })
        assert.strictEqual(denied.reason, "PermissionDenied")
        assert.match(denied.message, /; root on nas can grant it: zfs allow -u backup send,hold 'src\/a'$/)
        assert.isFalse(denied.transient)
      }
    })
  )

  it.effect("blames the receiver when the sender only died of its death", () =>
    Effect.gen(function* () {
      const full = { exitCode: 1, stderr: `cannot receive new filesystem stream: out of space\n` }
      for (const send of [
        { exitCode: 141, stderr: headers },
        { exitCode: 255 },
        { exitCode: 143, ended: true },
        { exitCode: 1, stderr: `${headers}warning: cannot send 'src/a@p1': Broken pipe\n` },
        { exitCode: 1, stderr: `${headers}warning: cannot send 'src/a@p1': Connection reset by peer\n` }
      ]) {
        const error = yield* failureOf(send, full)
        assert.strictEqual(error.reason, "NoSpace")
        assert.isFalse(error.transient)
        assert.strictEqual(
          error.message,
          "cannot receive src/a@3..@p3 into dst/nas/src/a: cannot receive new filesystem stream: out of space"
        )
      }
    })
  )

  it.effect("names the sender first where both have something to say", () =>
    Effect.gen(function* () {
      const error = yield* failureOf(
        { exitCode: 1, stderr: "cannot open 'src/a@p3': I/O error\n" },
        {
          exitCode: 1,
          stderr:
            "cannot receive incremental stream: destination dst/nas/src/a has been modified\nsince most recent snapshot\n"
        }
      )
      assert.strictEqual(error.reason, "Other")
      assert.match(
        error.message,
        /^on backup@nas: cannot send .*: I\/O error; cannot receive .* into dst\/nas\/src\/a: .* has been modified since most recent snapshot$/
      )
    })
  )

  it.effect("lets no chatter of a login take the place of what the receiver says, nor make a failure", () =>
    Effect.gen(function* () {
      const banner = Array.from({ length: 60 }, (_, line) => `cannot send line ${line}\n`).join("")
      const chatter = `stty: 'standard input': Inappropriate ioctl for device\nmotd: Permission denied\n${banner}${begin}`
      const error = yield* failureOf(
        { exitCode: 1, stderr: chatter },
        {
          exitCode: 1,
          stderr: "cannot receive incremental stream: destination dst has been modified\nsince most recent snapshot\n"
        }
      )
      assert.strictEqual(error.reason, "Modified")
      assert.notInclude(error.message, "stty")
      assert.deepStrictEqual(yield* pull({ stderr: `${chatter}${headers}` }).sent, { bytes: 1000 })
    })
  )

  it.effect("names the end whose command never began", () =>
    Effect.gen(function* () {
      const refused = { began: false, exitCode: 255, stderr: "ssh: connect to host nas port 22: Connection refused\n" }
      const sender = yield* failureOf(refused, incomplete)
      assert.strictEqual(
        sender.message,
        `cannot reach backup@nas: ssh: connect to host nas port 22: Connection refused${kept}`
      )
      assert.deepInclude(sender, { reason: "Unreachable", transient: true })
      const push = { source: local, target: nas } as const
      const receiver = yield* failureOf({ exitCode: 141 }, { began: false, exitCode: 0, stderr: "sftp only\n" }, push)
      assert.match(receiver.message, /^backup@nas runs something else .*: exit status 0, and it printed "sftp only"; /)
      assert.isFalse(receiver.transient)
      // The receiver ended while ssh was still connecting.
      const early = { began: false, exitCode: 143, ended: true }
      const full = { exitCode: 1, stderr: "cannot receive new filesystem stream: out of space\n" }
      assert.strictEqual((yield* failureOf(early, full)).reason, "NoSpace")
    })
  )

  it.effect("takes a sender that was slow to say good-bye for no failure, when the receiver has it all", () =>
    Effect.gen(function* () {
      const slow = { exitCode: 143, stderr: headers, ended: true }
      assert.deepStrictEqual(yield* pull(slow).sent, { bytes: 1000 })
      assert.strictEqual((yield* failureOf(slow, incomplete)).transient, true)
    })
  )

  it.effect("says that what came of a stream that was cut is kept, and that a retry helps", () =>
    Effect.gen(function* () {
      for (const [send, message] of [
        [
          { exitCode: 255, stderr: `${headers}Connection to nas closed by remote host.\n` },
          "cannot send src/a@3..@p3: cannot reach backup@nas: Connection to nas closed by remote host."
        ],
        [
          { exitCode: 255, stderr: `${headers}client_loop: send disconnect: Broken pipe\n` },
          "cannot send src/a@3..@p3: cannot reach backup@nas: the connection was lost"
        ]
      ] as const) {
        const error = yield* failureOf(send, incomplete)
        assert.strictEqual(error.message, message + kept)
        assert.deepInclude(error, { reason: "Unreachable", transient: true })
      }
      const alone = yield* failureOf({ stderr: headers }, incomplete)
      assert.isTrue(alone.transient)
      assert.strictEqual(
        alone.message,
        `cannot receive src/a@3..@p3 into dst/nas/src/a: cannot receive incremental stream: checksum mismatch or incomplete stream.${kept}`
      )
    })
  )

  it.effect("says that another receive is at work on the half of a stream, and that a retry may help", () =>
    Effect.gen(function* () {
      // As zfs 2.1.11 printed it.
      const busy = `cannot receive resume stream: destination dst/nas/src/a contains partially-complete state from "zfs receive -s".\n`
      const rest: Stream = { _tag: "Resume", token: "1-a", force: false, toGuid: "3", toName: "src/a@p3" }
      const error = yield* failureOf({ exitCode: 141 }, { exitCode: 1, stderr: busy }, { request: { stream: rest } })
      assert.deepInclude(error, { reason: "Busy", transient: true })
      assert.match(
        error.message,
        /partially-complete.*; a zfs receive is at work on it, .*\(there: pgrep -lf 'zfs receive'\)$/
      )
      // A stream from a snapshot finds a half that the plan did not know of.
      const other = yield* failureOf({ exitCode: 141 }, { exitCode: 1, stderr: busy })
      assert.deepInclude(other, { reason: "Modified", transient: false })
    })
  )

  it.effect("knows a snapshot that vanished, whatever the receiver makes of an empty stream", () =>
    Effect.gen(function* () {
      for (const stderr of [
        "cannot open 'src/a@p3': dataset does not exist\n",
        "warning: cannot send 'src/a@3': incremental source (src/a#nope) does not exist\n"
      ]) {
        const error = yield* failureOf(
          { exitCode: 1, stderr },
          { exitCode: 1, stderr: "cannot receive: failed to read from stream\n" }
        )
        assert.strictEqual(error.reason, "Vanished")
        assert.notMatch(error.message, /failed to read/)
      }
    })
  )

  it.effect("tells permissions on the receiver, on what exists there", () =>
    Effect.gen(function* () {
      const denied = { exitCode: 1, stderr: "cannot receive new filesystem stream: permission denied\n" }
      const stream: Stream = { _tag: "Full", to: snapshot("1"), force: false }
      const granted = (asked: Partial<TransferRequest>) =>
        Effect.map(
          failureOf({ exitCode: 141 }, denied, { request: asked }),
          ({ message }) => /zfs allow -u \S+ (.*)$/.exec(message)?.[1]
        )
      const permissions = "receive,create,mount,canmount,userprop"
      assert.strictEqual(yield* granted({ stream }), `${permissions} 'dst/nas/src'`)
      assert.strictEqual(yield* granted({}), `${permissions} 'dst/nas/src/a'`)
    })
  )

  it.effect("keeps the words of a sender that went on to report progress for hours", () =>
    Effect.gen(function* () {
      const progress = Array.from({ length: 5000 }, (_, i) => `04:52:27\t${i}\tsrc/a@p1`).join("\n")
      const error = yield* failureOf({ exitCode: 1, stderr: `cannot hold: no space left\n${progress}\n` })
      assert.match(error.message, /cannot hold: no space left$/)
    })
  )

  it.effect("warns of what a receiver says though it is content", () =>
    Effect.gen(function* () {
      const stderr = "cannot receive canmount property on dst/nas/src/a: permission denied\n"
      const logged = capturedLog()
      yield* pull({ stderr: `Warning: Permanently added 'nas' (ED25519)\n${begin}${headers}` }, { stderr }).sent.pipe(
        Effect.provide(logged.layer)
      )
      assert.deepStrictEqual(logged.lines, [`Warning: zfs says: ${stderr.trim()}`])
    })
  )

  it.effect("compresses and limits, having looked once for the programs", () =>
    Effect.gen(function* () {
      const { calls, sent, transfer } = pull(
        { stderr: `${headers}zipper: exit status 0\n` },
        {},
        {
          compress: "zstd",
          bandwidth: 1000
        }
      )
      yield* sent
      const first = [...calls]
      assert.deepStrictEqual(first.slice(0, 3), ["ssh: zstd --version", "zstd --version", "pv --version"])
      assert.strictEqual(first.length, 7)
      assert.match(first[3] ?? "", /^ssh: sh -c .*\| zstd -q -c' sh zfs send -vP/)
      assert.deepStrictEqual(first.slice(4, 6), ["pv -q -L 1000", "zstd -q -dc"])
      yield* transfer.send(request)
      assert.strictEqual(calls.length, 7 + 4)
    })
  )

  it.effect("sees the status of zfs behind the compression", () =>
    Effect.gen(function* () {
      const failed = yield* failureOf({ stderr: "zipper: exit status 1\n" }, {}, { compress: "zstd" })
      assert.match(failed.message, /exit status 1 and no message$/)
      const unknown = yield* failureOf({ stderr: headers }, {}, { compress: "zstd" })
      assert.match(unknown.message, /cannot send/)
      const push = { source: local, target: nas, compress: "zstd" } as const
      yield* pull({ stderr: headers }, { stderr: "zipper: exit status 0\n" }, push).sent
      yield* Effect.flip(pull({ stderr: headers }, { stderr: "zipper: exit status 1\n" }, push).sent)
    })
  )

  const notFound = (program: string) =>
    new ProcessError({
      reason: "NotFound",
      program,
      message: `${program}: program not found`,
      transient: false
    })

  it.effect("sends nothing when a program is missing, and says where", () =>
    Effect.gen(function* () {
      const there = pull({}, {}, { compress: "zstd", tool: { exitCode: 127, stderr: "env: zstd: No such file\n" } })
      const error = yield* Effect.flip(there.sent)
      assert.strictEqual(
        error.message,
        "--compress zstd needs the program zstd on backup@nas: install it there, or leave the option out"
      )
      assert.deepStrictEqual(there.calls, ["ssh: zstd --version"])
      const { calls, process } = scripted((line) => notFound(line.split(" ", 1)[0] ?? ""))
      const limited = makeTransfer(process, { source: nas, target: local, compress: "none", bandwidth: 1 })
      assert.match(
        (yield* Effect.flip(limited.send(request))).message,
        /^--bandwidth needs the program pv or mbuffer on this host/
      )
      assert.deepStrictEqual(calls, ["pv --version", "mbuffer --version"])
      const lost = pull(
        {},
        {},
        {
          compress: "zstd",
          tool: { exitCode: 255, stderr: "ssh: connect to host nas port 22: Connection refused\n" }
        }
      )
      assert.deepInclude(yield* Effect.flip(lost.sent), { reason: "Unreachable", transient: true })
    })
  )

  it.effect("says when ssh or zfs is missing here", () =>
    Effect.gen(function* () {
      const noSsh = yield* failureOf(notFound("ssh"))
      assert.deepInclude(noSsh, {
        reason: "NotInstalled",
        message: "ssh: program not found",
        transient: false
      })
      const noZfs = yield* failureOf({}, notFound("zfs"))
      assert.strictEqual(noZfs.message, "zfs: program not found (OpenZFS)")
    })
  )
})
