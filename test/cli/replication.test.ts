import { once } from "node:events"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { lockfileOf } from "../../src/cli/layers.ts"
import { makePlace, type Place, picture, run, start } from "../support/program/built.ts"
import { mqtt5Broker, type Received } from "../support/servers/mqttBroker.ts"

let place: Place
beforeEach(() => {
  place = makePlace({
    replication: [
      {
        name: "nightly",
        direction: "pull",
        host: "nas",
        user: "backup",
        datasets: ["tank/a"],
        destination: "b"
      },
      {
        name: "offsite",
        direction: "push",
        host: "off",
        user: "me",
        datasets: ["tank/b"],
        retention: { daily: 3 }
      }
    ]
  })
})
afterEach(() => place.remove())

/** Programs in the place of the real ones, that only tell that they were called. */
const traps = () => {
  const folder = join(place.root, "bin")
  mkdirSync(folder)
  for (const program of ["zfs", "ssh", "sh"]) {
    writeFileSync(join(folder, program), `#!/bin/bash\n: > ${place.root}/called\nexit 1\n`, { mode: 0o755 })
  }
  return folder
}

describe("a replication that cannot be meant", () => {
  const wrong: ReadonlyArray<readonly [string, ReadonlyArray<string>, ReadonlyArray<RegExp>]> = [
    [
      "has no host, dataset and destination",
      ["pull"],
      [/--host: is missing/, /DATASET: is missing/, /--destination: is/]
    ],
    [
      "has an unknown option",
      ["pull", "--host", "nas", "--destination", "b", "tank/a", "--dryrun"],
      [/unknown option --dryrun of `zipper pull`; did you mean --dry-run\?/]
    ],
    [
      "has an option of another command",
      ["push", "--host", "nas", "--raw", "tank/a"],
      [/unknown option --raw of `zipper push`/]
    ],
    [
      "has an option for a value",
      ["pull", "--host", "nas", "--destination", "b", "--exclude", "--dry-run", "tank/a"],
      [/--exclude: its value is missing; what follows it is --dry-run/]
    ],
    [
      "has several mistakes",
      ["pull", "--host=x/y", "--destination", "b/", "--bandwidth", "fast", "--concurrency", "x", "tank@a"],
      [
        /5 mistakes/,
        /--host: "x\/y"/,
        /--destination: "b\/"/,
        /--bandwidth: "fast"/,
        /--concurrency: "x"/,
        /DATASET: "tank@a" names a snapshot/
      ]
    ],
    ["names a job without a configuration", ["pull", "--job", "nightly"], [/zipper\.json: does not exist/]],
    [
      "names a job that is not there",
      ["pull", "--job", "nightli", "--config", "C"],
      [/did you mean nightly\?; it has nightly, offsite/]
    ],
    [
      "names a job of the other direction",
      ["pull", "--job", "offsite", "--config", "C"],
      [/is a push: zipper push --job offsite/]
    ],
    [
      "says twice what the job says",
      ["pull", "--job", "nightly", "--config", "C", "--host", "x", "--raw", "tank"],
      [/DATASET, --host, --raw: --job nightly says that already/]
    ],
    ["prunes without a count", ["prune", "--job", "nightly", "--config", "C"], [/nothing says what to keep/]],
    ["prunes to nothing", ["prune", "--job", "offsite", "--config", "C", "--hourly", "0"], [/would keep nothing/]],
    [
      "prunes in no direction",
      ["prune", "--direction", "up", "--host", "nas", "tank", "--daily", "1"],
      [/--direction: "up" is not/]
    ],
    ["prepares over ssh without a host", ["prepare", "--user", "me", "tank/x"], [/go with --host/]],
    ["delegates no role to nobody", ["delegate", "tank/a"], [/give --job NAME, or --role/, /--user: is missing/]],
    [
      "has no numbers where numbers belong",
      ["pull", "--host=-evil", "--destination", "b", "--port", "abc", "tank/a"],
      [
        /2 mistakes/,
        /--host: "-evil" names a host that begins with a dash/,
        /--port: "abc" is not a whole number from 1 to 65535/,
        /zipper pull --help/
      ]
    ],
    [
      "prunes by no number",
      ["prune", "--job", "offsite", "--config", "C", "--hourly", "1.5"],
      [/--hourly: "1.5" is not a whole number/, /zipper prune --help/]
    ],
    [
      "says false to an option",
      ["pull", "--host", "nas", "--destination", "b", "--dry-run", "false", "tank/data"],
      [/--dry-run: takes no value such as "false"/, /zipper pull --help/]
    ],
    ["delegates to an option", ["delegate", "--role=send", "--user=-x", "tank/a"], [/--user: "-x" begins/]],
    ["suspends nowhere", ["suspend"], [/no broker: set MQTT_HOST/]]
  ]

  it("is told so, with everything that is wrong, and no host is asked", async () => {
    const bin = traps()
    const before = picture(place.root)
    const ended = await Promise.all(
      wrong.map(([, args]) =>
        run(
          args.map((word) => (word === "C" ? place.config : word)),
          { env: { PATH: bin } }
        )
      )
    )
    for (const [index, { status, stderr, stdout }] of ended.entries()) {
      const [what = "", , words = []] = wrong[index] ?? []
      assert.strictEqual(status, 2, `${what}: ${stderr}`)
      assert.strictEqual(stdout, "", what)
      for (const word of words) assert.match(stderr, word, what)
      assert.notMatch(stderr, /^ +at |internal error/m)
    }
    assert.strictEqual(picture(place.root), before)
    assert.isFalse(existsSync(join(place.root, "called")))
  })

  it("is told so in the document, with --json", async () => {
    for (const args of [
      ["push", "--json", "--host", "nas", "tank@a"],
      ["pull", "--json", "--host"],
      ["pull", "--json", "--host", "nas", "--port", "abc", "tank/x"],
      ["pull", "--host", "nas", "--josn", "--json"],
      ["run", "--json", "--folder", "abcd"],
      ["check", "--json"]
    ]) {
      const { status, stderr, stdout } = await run(args)
      assert.strictEqual(status, 2, stderr)
      const document = Object(JSON.parse(stdout))
      assert.deepStrictEqual(Object.keys(document), ["version", "errors"])
      assert.isTrue(stderr.includes(document.errors[0].split("\n")[0]), stderr)
    }
    // Behind the two dashes it is a name.
    assert.strictEqual((await run(["pull", "--host", "--", "--json"])).stdout, "")
  })
})

describe("a replication that can be meant", () => {
  const meant: ReadonlyArray<ReadonlyArray<string>> = [
    ["pull", "tank/0", "--host", "me@nas", "--destination=b", "--exclude", "tmp", "--exclude=c*", "--lock", "L"],
    [
      "push",
      "--host",
      "a",
      "--host",
      "nas",
      "--port=22",
      "--ssh-option",
      "Compression=yes",
      "--lock",
      "L",
      "--",
      "tank/a b"
    ],
    ["push", "--job", "offsite", "--config", "C", "--bandwidth", "10M", "--rollback"],
    ["pull", "--dry-run", "n", "--host", "nas", "--destination", "b", "--lock", "L"],
    ["prune", "--direction", "pull", "--host", "nas", "--destination", "b", "--daily", "3", "--lock", "L", "tank/a"],
    ["prune", "--job", "offsite", "--config", "C"]
  ]
  it("goes as far as the hosts, and fails before anything is done when one does not answer", async () => {
    const bin = traps()
    for (const [index, args] of meant.entries()) {
      const words = args.map((word) =>
        word === "C" ? place.config : word === "L" ? join(place.root, `lock-${index}`) : word
      )
      const { status, stderr } = await run(words, { env: { PATH: `${bin}:/usr/bin:/bin` } })
      assert.strictEqual(status, 3, `${args.join(" ")}: ${stderr}`)
    }
    assert.isTrue(existsSync(join(place.root, "called")))
  })
})

describe("the lock file of a replication", () => {
  const pull = {
    direction: "pull",
    remote: { _tag: "Remote", host: "nas", options: [] },
    destination: "tank/backup"
  } as const

  it("is beside the configured one or where this user can write", () => {
    const root = { root: true, env: {} }
    assert.strictEqual(
      lockfileOf(pull, { lockfile_path: "/x/zipper.lock" }, root),
      "/x/zipper.pull-nas-tank_backup.lock"
    )
    assert.strictEqual(lockfileOf(pull, { lockfile_path: "/x/lock" }, root), "/x/lock.pull-nas-tank_backup.lock")
    assert.strictEqual(lockfileOf(pull, undefined, root), "/var/run/zipper.pull-nas-tank_backup.lock")
    const me = (env: Record<string, string>) => lockfileOf(pull, undefined, { root: false, env })
    assert.strictEqual(
      me({ XDG_RUNTIME_DIR: "/run/user/1", HOME: "/home/me" }),
      "/run/user/1/zipper.pull-nas-tank_backup.lock"
    )
    assert.strictEqual(me({ HOME: "/home/me" }), "/home/me/.zipper.pull-nas-tank_backup.lock")
    assert.isUndefined(me({}))
  })
})

describe("a configuration without an archive job", () => {
  const alone = { source_path: undefined, target_path: undefined }
  const nightly = {
    name: "nightly",
    direction: "pull",
    host: "nas",
    user: "backup",
    datasets: ["tank/a"],
    destination: "b"
  }

  it("serves for replication, and a run says that there is nothing to archive", async () => {
    place.configure({ ...alone, replication: [nightly] })
    for (const command of ["validate", "show"]) {
      assert.strictEqual((await run(["config", command, "--config", place.config])).status, 0)
    }
    const archive = await run(["run", "--json", "--config", place.config])
    assert.strictEqual(archive.status, 2)
    assert.include(archive.stderr, "has no source_path and target_path: there is nothing to archive; its repl")
    assert.include(JSON.parse(archive.stdout).errors.join(), "nothing to archive")
    const env = { PATH: `${traps()}:/usr/bin:/bin` }
    const checked = await run(["check", "--json", "--config", place.config], { env })
    assert.strictEqual(checked.status, 3)
    const subjects = JSON.parse(checked.stdout).findings.map((finding: object) => Object(finding).subject)
    assert.deepStrictEqual(subjects, ["gotify", "replication nightly", "state_dir"])
    // As far as the host, with log and lock where the configuration says.
    const pulled = await run(["pull", "--job", "nightly", "--config", place.config], { env })
    assert.strictEqual(pulled.status, 3)
    assert.isTrue(existsSync(join(place.root, "zipper.log")))
    assert.isTrue(existsSync(join(place.root, "lock.pull-nas-b.lock")))
  })

  it("serves for suspend, and leaves nothing to check", async () => {
    place.configure({ ...alone, replication: [], mqtt: { host: "broker" } })
    assert.strictEqual((await run(["suspend", "--dry-run", "--config", place.config])).status, 0)
    const checked = await run(["check", "--config", place.config])
    assert.strictEqual(checked.status, 2)
    assert.include(checked.stderr, "nothing to archive")
  })
})

describe("a lock file that cannot be used", () => {
  it("is one to choose with --lock", async () => {
    const lock = join(place.root, "none", "lock")
    const { status, stderr } = await run(["pull", "--job", "nightly", "--config", place.config, "--lock", lock])
    assert.strictEqual(status, 3)
    assert.include(stderr, "its folder does not exist: create it, or give --lock a file elsewhere")
    assert.notInclude(stderr, "lockfile_path")
  })
})

describe("delegate", () => {
  it("prints the commands for root, each under its host", async () => {
    const { status, stdout } = await run(["delegate", "--job", "nightly", "--config", place.config, "--user", "me"])
    assert.strictEqual(status, 0)
    assert.strictEqual(
      stdout,
      `# as root on nas
zfs allow -u me send,hold,bookmark,destroy 'tank/a'
# as root on this host
zfs allow -u me receive,create,mount,canmount,userprop 'b'
`
    )
  })
})

describe("suspend", () => {
  it("says why when the broker is not there, and publishes nothing in a dry run", async () => {
    const gone = await run(["suspend"], {
      env: { MQTT_HOST: "127.0.0.1", MQTT_PORT: "9", MQTT_PASSWORD: "s3cret" }
    })
    assert.strictEqual(gone.status, 1)
    assert.include(gone.stderr, "127.0.0.1:9")
    assert.notInclude(gone.stderr, "s3cret")
    const dry = await run(["suspend", "--dry-run"], { env: { MQTT_HOST: "127.0.0.1" } })
    assert.strictEqual(dry.status, 0)
    assert.include(dry.stdout, 'would publish "suspend" to servers/host-backups at 127.0.0.1:1883')
  })

  it("publishes through a broker, by the library that the built file has as a text", async () => {
    const received: Received = { connects: [], topics: [] }
    const server = createServer(mqtt5Broker({ connect: 0, publish: 0 }, received)).listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    const port = typeof address === "object" ? address?.port : undefined
    const env = { MQTT_HOST: "127.0.0.1", MQTT_PORT: String(port) }
    const { status, stderr } = await start(["suspend"], { env }).ended
    server.close()
    assert.deepStrictEqual(
      { status, stderr, topics: received.topics },
      { status: 0, stderr: "", topics: ["servers/host-backups"] }
    )
  })
})

describe("a recover that cannot be meant", () => {
  const nightly = ["--job", "nightly"]
  const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, ReadonlyArray<string>]> = [
    [
      [],
      ["give --job NAME: the job that the replica is of", "give one of --to TARGET, --look DIR", "give one dataset"]
    ],
    [["tank/a", ...nightly, "--to", "x/y/"], ['--to: "x/y/" has an empty part']],
    [["tank/a", ...nightly, "--to", "x"], ["--to: x is a pool; give a dataset in it: x/data"]],
    [["tank/a", ...nightly, "--to", "x/y", "--key", "key"], ["--key: expected file:///path"]],
    [["tank/a", ...nightly, "--look", "/mnt", "--host", "nas"], ["--host and --key go with --to"]],
    [["tank/z", ...nightly, "--to", "x/y"], ["tank/z is no dataset of the job nightly: tank/a"]],
    [["tank/a", "--job", "night", "--to", "x/y"], ['has no job "night"; did you mean nightly?']],
    [["tank/b", "--job", "offsite", "--look", "mnt"], ["--look, --done: give a path that begins with /"]]
  ]
  for (const [args, mistakes] of wrong) {
    it(`${args.join(" ") || "without anything"} is refused before a program is called`, async () => {
      const env = { PATH: `${traps()}:/usr/bin:/bin` }
      const ran = await run(["recover", ...args, "--config", place.config], { env })
      assert.strictEqual(ran.status, 2, ran.stderr)
      for (const mistake of mistakes) assert.include(ran.stderr, mistake)
      assert.strictEqual(ran.stderr.match(/^ {2}- /gm)?.length ?? 1, mistakes.length, ran.stderr)
      assert.isFalse(existsSync(join(place.root, "called")))
    })
  }
})
