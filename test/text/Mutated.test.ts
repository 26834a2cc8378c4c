import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Config from "../../src/config/Config.ts"
import * as JsonText from "../../src/config/JsonText.ts"
import * as SendOutput from "../../src/replication/TransferFailure.ts"
import { HistoryRun } from "../../src/runs/History.ts"
import { JobState, RunMarker } from "../../src/runs/JobState.ts"
import * as holder from "../../src/runs/Lock.ts"
import { FolderName, parseFolderName as parseFolder } from "../../src/source/FolderName.ts"
import { FolderFailure, FolderState } from "../../src/store/FolderState.ts"
import * as ChecksumFile from "../../src/store/Metadata.ts"
import * as PublishPlan from "../../src/store/PublishPlan.ts"
import * as MountInfo from "../../src/system/MountTable.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import * as Allow from "../../src/zfs/Allow.ts"
import * as SnapshotMark from "../../src/zfs/SnapshotPrune.ts"
import * as ZfsDiff from "../../src/zfs/ZfsDiff.ts"
import * as ZfsList from "../../src/zfs/ZfsList.ts"
import { readSnapshots, readSources, readTargets } from "../../src/zfs/ZfsList.ts"

// The output of programs and the content of our files with random changes: no reader breaks on them or accepts nonsense.

const corpus = {
  diff: "M\t/\t/mnt/tank/data/\nR\tF\t/mnt/tank/data/ABCD/a\t/mnt/tank/data/EFGH/new\\0040name\n-\tF\t/mnt/tank/data/ABCD/x\n",
  datasets: "tank/a\ton\t-\t/a\tb\ntank/b\toff\tunavailable\tlegacy\n",
  mountInfo: "33 27 0:29 / /mnt/od\\040d rw - zfs tank/my\\040data rw,xattr\n22 1 0:20 / /proc rw - proc proc rw\n",
  mount: "tank/data on /mnt/tank/data (zfs, local, noatime, nfsv4acls)\ndevfs on /dev (devfs)\n",
  snapshots:
    "tank/a@auto-zip-20250101-120000\t1234567890123456789\t5\t1735732800\t0\t-\ntank/a#mark\t99\t6\t1735732801\t-\t-\ntank/a@two\t7\t8\t1735732802\t1\ttank/c,tank/d\n",
  sources:
    "tank/a\tfilesystem\t17\toff\t-\t0\t-\ntank/v\tvolume\t18\taes-256-gcm\ttank/v\t11217333152148696406\tunavailable\n",
  targets:
    "dst/a\ttype\tfilesystem\t-\ndst/a\tguid\t17\t-\ndst/a\twritten\t0\t-\ndst/a\tencryptionroot\tdst/a\t-\ndst/a\tpbkdf2salt\t17\t-\ndst/a\tzipper:send\traw\tlocal\n",
  send: "full\ttank/a@1\t13312\nincremental\t1\ttank/a@2\t1000\nsize\t14312\n12:00:01\t512\ttank/a@1\n",
  token:
    "resume token contents:\nnvlist version: 0\n\tobject = 0x2\n\ttoguid = 0x4c1ee5b2a1\n\ttoname = tank/a@2\n\tfromguid = 12\nfull\ttank/a@2\t99\n",
  allow:
    "---- Permissions on tank/a ------\nPermission sets:\n\t@s send,hold\nLocal+Descendent permissions:\n\tuser anna @s,mount\n\teveryone diff\n",
  mark: "host=nas,pid=1234,start=12%2C5,run=ab12cd,job=archive,layout=0123abcd",
  holder: "pid 1234, since 2025-01-01T12:00:00Z\n",
  md5: "0123456789abcdef0123456789abcdef  ABCD.zip\n",
  config: `{
  "source_path": "/mnt/tank/data",
  "target_path": "/mnt/safe/archives",
  "max_workers": 2,
  "umask": "027",
  "gotify": { "url": "https://g.example.com/message", "token": "Afw2x9.tOKEn_q", "priority": 5 },
  "replication": [{ "name": "nas", "direction": "pull", "host": "nas", "user": "repl", "datasets": ["tank/data"], "target": "tank/backup" }]
}
`,
  journal: `{"version":1,"folder":"ABCD","steps":[{"name":"ABCD.zip","action":"replace","existed":true},{"name":"metadata.prev.json","action":"remove","existed":true}]}\n`,
  state: `{"version":1,"folder":"ABCD","manifest_sha256":"${"ab".repeat(32)}","hard_links":false,"snapshot":"tank/data@x","archived_at_utc":"2025-01-01T12:00:00Z","files":2,"bytes":10,"zip_size":9,"zip_md5":"${"cd".repeat(16)}","zip_sha256":"${"ef".repeat(32)}"}\n`,
  failure: `{"version":1,"folder":"ABCD","run":"ab12cd","failed_at_utc":"2025-01-01T12:00:00Z","failures":3,"error":"cannot read a"}\n`,
  standing: `{"version":1,"kind":"archive","last_run":{"run":"ab12cd","started_at_utc":"2025-01-01T12:00:00Z","seconds":1.5,"outcome":"ok","bytes":10,"failures":0},"folders":[{"folder":"ABCD","last_attempt_utc":"2025-01-01T12:00:00Z","result":"archived","files":1,"bytes":10,"zip_bytes":9,"seconds":0.1}]}\n`,
  marker: `{"version":1,"run":"ab12cd","pid":12,"started_at_utc":"2025-01-01T12:00:00Z","lockfile":"/var/run/zipper.lock"}\n`,
  history: `{"version":1,"kind":"archive","run":"ab12cd","started_at_utc":"2025-01-01T12:00:00Z","seconds":1.5,"outcome":"ok","archived":1,"unchanged":0,"failed":0,"bytes":10,"zip_bytes":9,"folders":[{"folder":"ABCD","result":"archived","files":1,"bytes":10,"zip_bytes":9,"seconds":0.1}]}\n`
}
type Name = keyof typeof corpus

type Edit = (text: string) => string

/** Programs' output and files come one character a byte, or as any text. */
const character = FastCheck.oneof(
  FastCheck.constantFrom(
    "\t",
    "\n",
    " ",
    "@",
    "#",
    "/",
    "\\",
    ",",
    "-",
    "0",
    '"',
    "{",
    "}",
    "[",
    "]",
    "\0",
    "\x1b",
    "\r"
  ),
  FastCheck.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
  FastCheck.fullUnicode()
)

const at = (share: number, text: string): number => Math.floor(share * (text.length + 1))
const share = FastCheck.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
const edit: FastCheck.Arbitrary<Edit> = FastCheck.oneof(
  FastCheck.tuple(share, character).map(
    ([where, char]) =>
      (text: string) =>
        text.slice(0, at(where, text)) + char + text.slice(at(where, text) + 1)
  ),
  FastCheck.tuple(share, FastCheck.array(character, { maxLength: 8 })).map(
    ([where, chars]) =>
      (text: string) =>
        text.slice(0, at(where, text)) + chars.join("") + text.slice(at(where, text))
  ),
  // Cut out, cut off, or said twice.
  FastCheck.tuple(share, share).map(
    ([from, length]) =>
      (text: string) =>
        text.slice(0, at(from, text)) + text.slice(at(from, text) + at(length / 4, text))
  ),
  share.map((where) => (text: string) => text.slice(0, at(where, text))),
  FastCheck.tuple(share, share).map(
    ([from, length]) =>
      (text: string) =>
        text.slice(0, at(from, text) + at(length / 4, text)) + text.slice(at(from, text))
  ),
  // A number, a word or a line of another place.
  FastCheck.tuple(share, FastCheck.constantFrom(...Object.values(corpus)), share).map(
    ([where, other, from]) =>
      (text: string) =>
        text.slice(0, at(where, text)) + other.slice(at(from, other)) + text.slice(at(where, text))
  )
)
const mutated = (name: Name) =>
  FastCheck.array(edit, { minLength: 1, maxLength: 4 }).map((edits) =>
    edits.reduce((text, change) => change(text), corpus[name])
  )

const times = { fastCheck: { numRuns: 600 } }
const raw = RawPath.fromLatin1
const abcd = Option.getOrThrow(Option.fromNullable(parseFolder("ABCD")))
const isDecimal = (text: string) => assert.match(text, /^[0-9]{1,20}$/)

describe("a changed text", () => {
  it.prop(
    "of zfs diff is no change that is missed: what cannot be understood changes everything",
    [mutated("diff")],
    ([text]) => {
      const changed = new ZfsDiff.Changed(raw("/mnt/tank/data"), raw("/mnt/tank/data"))
      for (const line of text.split("\n")) changed.add(line)
      for (const line of text.split("\n")) {
        if (line !== "" && ZfsDiff.parseLine(line) === undefined) assert.isTrue(changed.everything)
      }
    },
    times
  )

  it.prop(
    "of zfs list is a list of datasets or none",
    [mutated("datasets"), mutated("mountInfo"), mutated("mount")],
    ([datasets, mountInfo, mount]) => {
      const read = ZfsList.parseDatasets(datasets)
      if (Either.isRight(read)) {
        assert.isTrue(datasets === "" || datasets.endsWith("\n"))
        for (const { canmount, keystatus, name } of read.right) {
          for (const word of [name, canmount, keystatus]) assert.notMatch(word, /[\t\n]/)
        }
      }
      for (const found of [...MountInfo.parseMountInfo(mountInfo), ...MountInfo.parseMountOutput(mount)]) {
        assert.isString(found.mountpoint)
      }
    },
    times
  )

  it.prop(
    "about snapshots and datasets to replicate gives whole ones or none",
    [mutated("snapshots"), mutated("sources"), mutated("targets")],
    ([snapshots, sources, targets]) => {
      const own = readSnapshots(snapshots)
      if (Either.isRight(own)) {
        for (const { bookmarks, snapshots: found } of own.right.values()) {
          for (const { guid } of [...bookmarks, ...found]) isDecimal(guid)
          for (const { creation, holds } of found) assert.isTrue(creation >= 0 && holds >= 0)
        }
      }
      const known = Either.getOrElse(own, () => new Map())
      const from = readSources(sources, known)
      if (Either.isRight(from)) for (const { guid } of from.right) isDecimal(guid)
      const to = readTargets(targets, known)
      if (Either.isRight(to)) {
        for (const { guid, written } of to.right.values()) {
          isDecimal(guid)
          assert.isAtLeast(written, 0)
        }
      }
    },
    times
  )

  it.prop(
    "of zfs send counts no less than nothing, and a token names its snapshot or is none",
    [mutated("send"), mutated("token")],
    ([send, token]) => {
      const meter = new SendOutput.SendMeter()
      for (const line of send.split("\n")) {
        const sent = meter.add(SendOutput.parseLine(line))
        if (sent !== undefined) assert.isTrue(sent.sent >= 0 && (sent.total ?? sent.sent) >= sent.sent)
      }
      assert.isAtLeast(SendOutput.sizeIn(send) ?? 0, 0)
      const found = SendOutput.tokenIn(token)
      if (found !== undefined) {
        isDecimal(found.toGuid)
        assert.isNotEmpty(found.toName)
      }
    },
    times
  )

  it.prop(
    "of zfs allow grants nothing whose name is not in it",
    [mutated("allow")],
    ([text]) => {
      const anna = { user: "anna", groups: [], root: false }
      const wanted = ["send", "hold", "mount", "diff", "destroy", "receive"]
      const missing = Allow.missing(anna, Allow.parseAllow(text), "tank/a", wanted)
      for (const each of wanted) if (!text.includes(each)) assert.include(missing, each)
    },
    times
  )

  it.prop(
    "of marks, locks and checksum files is one of them or nothing",
    [mutated("mark"), mutated("holder"), mutated("md5")],
    ([mark, held, md5]) => {
      const found = SnapshotMark.decodeMark(mark)
      if (found !== undefined) assert.isTrue(Number.isSafeInteger(found.pid))
      assert.isTrue(Number.isSafeInteger(holder.decode(held)?.pid ?? 0))
      assert.isString(holder.describeHolder(held))
      assert.match(ChecksumFile.parseChecksums(md5)?.digest ?? "0".repeat(32), /^[0-9a-f]{32,128}$/)
    },
    times
  )

  it.prop(
    "of a configuration is one or has its mistakes named, on lines of their own, without the token",
    [mutated("config")],
    ([text]) => {
      const document = JsonText.parse(text)
      if (Either.isLeft(document)) return
      const config = Config.decode(document.right.value)
      if (Either.isRight(config)) return
      assert.isNotEmpty(config.left)
      for (const line of config.left) {
        assert.notMatch(line, /[\n\x1b]/)
        assert.notInclude(line, "tOKEn")
      }
    },
    times
  )

  it.prop(
    "of a journal or a state never names a file of somebody else",
    [mutated("journal"), mutated("state"), mutated("failure")],
    ([journal, state, failure]) => {
      for (const { name } of PublishPlan.decodeJournal(abcd, journal)?.steps ?? []) {
        assert.include(PublishPlan.publishedNames(abcd), name)
      }
      for (const [schema, text] of [
        [FolderState, state],
        [FolderFailure, failure]
      ] as const) {
        const found = Schema.decodeUnknownOption(Schema.parseJson(schema))(text)
        if (Option.isSome(found)) assert.isTrue(Schema.is(FolderName)(found.value.folder))
      }
    },
    times
  )

  it.prop(
    "of standing or history is whole or left out",
    [mutated("standing"), mutated("marker"), mutated("history")],
    ([standing, marker, history]) => {
      const stands = Schema.decodeUnknownOption(Schema.parseJson(JobState))(standing)
      if (Option.isSome(stands)) assert.isFalse(Number.isNaN(Date.parse(stands.value.last_run.started_at_utc)))
      const marks = Schema.decodeUnknownOption(Schema.parseJson(RunMarker))(marker)
      if (Option.isSome(marks)) assert.isFalse(Number.isNaN(Date.parse(marks.value.started_at_utc)))
      const run = Schema.decodeUnknownOption(Schema.parseJson(HistoryRun))(history)
      if (Option.isSome(run)) assert.isFalse(Number.isNaN(Date.parse(run.value.started_at_utc)))
    },
    times
  )
})
