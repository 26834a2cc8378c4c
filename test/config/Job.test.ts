import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import { endpointFromFlags, fromFlags, type JobFlags, retentionOf } from "../../src/cli/replicationJob.ts"
import {
  bandwidthProblem,
  collisions,
  decodeJob,
  jobFromConfig,
  jobLockName,
  targetOf
} from "../../src/config/ReplicationJob.ts"
import { parseBytes } from "../../src/text/Text.ts"
import { addressOf, hostProblem, sshOptionProblem, userProblem } from "../../src/zfs/DatasetName.ts"
import { local } from "../../src/zfs/Endpoint.ts"

const nothing: JobFlags = {
  direction: "pull",
  host: "nas",
  user: undefined,
  port: undefined,
  sshOptions: [],
  datasets: ["tank/a"],
  exclude: [],
  destination: undefined,
  stripPrefix: undefined,
  raw: undefined,
  bandwidth: undefined,
  compress: undefined
}

const made = (flags: Partial<JobFlags>) => Either.getOrThrow(fromFlags({ ...nothing, ...flags }))
const problems = (flags: Partial<JobFlags>) =>
  Either.getOrElse(Either.flip(fromFlags({ ...nothing, ...flags })), () => [])

describe("a host", () => {
  it("may have a user, and nothing that a shell or ssh would act on", () => {
    assert.deepStrictEqual(addressOf("me@nas"), { user: "me", host: "nas" })
    assert.deepStrictEqual(addressOf("me@home@nas"), { user: "me@home", host: "nas" })
    assert.deepStrictEqual(addressOf("me@[::1]"), { user: "me", host: "::1" })
    for (const good of [
      "nas",
      "::1",
      "me@[::1]",
      "fd00::17",
      "me@nas",
      "nas.example.com",
      "10.0.0.1",
      "[fe80::1%eth0]",
      "my_alias",
      "DOM\\me@nas"
    ]) {
      assert.strictEqual(hostProblem(good), undefined, good)
    }
    const bad = [
      "",
      "[nas]",
      "[::1",
      "me@",
      "@nas",
      "-oX",
      "me@-oX",
      "-x@nas",
      "a b",
      "nas/x",
      "a;b",
      "$(x)",
      "a\nb",
      "`x`@nas",
      "a'b"
    ]
    for (const each of bad) assert.isString(hostProblem(each), each)
    for (const each of ["", "-x", "a b", "a:b", "a'b", "a\0b"]) assert.isString(userProblem(each), each)
  })

  it("is the same host with the brackets of a URL, for the lock, the replicas and other jobs", () => {
    const [plain, bracketed] = ["::1", "[::1]"].map((host) => made({ host, destination: "b" }))
    assert.deepStrictEqual(bracketed, plain)
    assert.deepStrictEqual(plain?.remote.host, "::1")
    if (plain === undefined || bracketed === undefined) return
    assert.strictEqual(jobLockName(bracketed), "pull-__1-b")
    assert.deepStrictEqual(targetOf(bracketed, "tank"), Either.right("b/::1/tank"))
    const other = { ...bracketed, name: "other", remote: { ...bracketed.remote, user: "backup" } }
    assert.match(
      collisions([plain, other])[0] ?? "",
      /would both write to b\/::1\/tank\/a: tank\/a of ::1 and .* of backup@::1$/
    )
  })

  it("has its port in a place of its own", () => {
    for (const host of ["nas:2222", "me@nas:2222", "[::1]:2222"]) {
      assert.deepStrictEqual(problems({ host, destination: "b" }), [
        `--host: ${JSON.stringify(host)} ends in a port, which is an option of its own: --port 2222, in a configuration "port": 2222`
      ])
    }
  })

  it("sends one dataset at a time, or as many as it says", () => {
    assert.strictEqual(made({ destination: "b" }).concurrency, 1)
    assert.strictEqual(made({ destination: "b", concurrency: "16" }).concurrency, 16)
    for (const [concurrency, shown] of [
      ["0", "0"],
      ["17", "17"],
      ["many", '"many"']
    ] as const) {
      assert.deepStrictEqual(problems({ destination: "b", concurrency }), [
        `--concurrency: ${shown} is not a whole number from 1 to 16`
      ])
    }
  })

  it("takes options as ssh has them after -o", () => {
    for (const good of ["IdentityFile=/root/.ssh/a b", "Compression yes", "Port = 22", "ProxyJump=a,b"]) {
      assert.strictEqual(sshOptionProblem(good), undefined, good)
    }
    for (const bad of ["", "-p", "-oA=b", "A", "A=", "A=\n", "=b", "A=b\nC=d"]) {
      assert.isString(sshOptionProblem(bad), bad)
    }
  })
})

describe("a job", () => {
  it("pushes raw and pulls plain unless told otherwise", () => {
    assert.strictEqual(made({ destination: "b" }).mode, "plain")
    assert.strictEqual(made({ destination: "b", raw: true }).mode, "raw")
    assert.strictEqual(made({ direction: "push" }).mode, "raw")
    assert.strictEqual(made({ direction: "push", raw: false }).mode, "plain")
  })

  it("is the same from the command line as from the configuration", () => {
    const written = {
      name: "push-fe80__1_eth0",
      direction: "push",
      host: "me@[fe80::1%eth0]",
      port: 2222,
      datasets: ["tank/a", "tank/b c"],
      exclude: ["tmp"],
      destination: "pool/x",
      strip_prefix: "tank",
      raw: false,
      ssh_options: ["Compression=yes"],
      bandwidth: "10M",
      compress: "zstd"
    }
    const job = made({
      direction: "push",
      host: written.host,
      port: "2222",
      datasets: written.datasets,
      exclude: written.exclude,
      destination: "pool/x",
      stripPrefix: "tank",
      raw: false,
      sshOptions: written.ssh_options,
      bandwidth: "10M",
      compress: "zstd"
    })
    assert.deepStrictEqual(job, jobFromConfig(Either.getOrThrow(decodeJob(written))))
    assert.deepStrictEqual(job.remote, {
      _tag: "Remote",
      host: "fe80::1%eth0",
      user: "me",
      port: 2222,
      options: ["Compression=yes"]
    })
    assert.strictEqual(job.bandwidth, 10 * 1024 * 1024)
  })

  it("of the command line is told all its mistakes, by the names of its options", () => {
    assert.deepStrictEqual(
      problems({
        host: undefined,
        user: "a b",
        port: "70000",
        sshOptions: ["-x"],
        datasets: ["tank@a", "0"],
        exclude: ["-x"],
        stripPrefix: "x/",
        bandwidth: "fast",
        compress: "gzip"
      }).map((line) => line.split(":")[0]),
      [
        "--host",
        "--user",
        "--port",
        "DATASET",
        "DATASET",
        "--exclude",
        "--strip-prefix",
        "--ssh-option",
        "--bandwidth",
        "--compress",
        "--destination",
        "--strip-prefix"
      ]
    )
    assert.deepStrictEqual(problems({ datasets: [] })[0]?.split(":")[0], "DATASET")
    assert.deepStrictEqual(problems({ direction: "push", stripPrefix: "tank/b", datasets: ["tank/bb"] }), [
      'DATASET: "tank/bb" does not lie in tank/b, the prefix to strip'
    ])
  })

  it("reads a bandwidth in powers of 1024", () => {
    assert.isUndefined(bandwidthProblem("8000000G"))
    assert.isDefined(bandwidthProblem("999999999999G"), "more than a limiter can be told in digits")
    assert.deepStrictEqual(["1", "1k", "2K", "10M", "3g"].map(parseBytes), [1, 1024, 2048, 10_485_760, 3_221_225_472])
  })
})

describe("the lock of a job", () => {
  it("is the same for named and unnamed jobs that write to one place, and for no others", () => {
    const named = {
      name: "nightly",
      direction: "pull",
      host: "me@nas",
      datasets: ["tank"],
      destination: "b/c"
    }
    const lock = (change: object = {}) => {
      const given = Object.entries({ ...named, ...change }).filter(([, value]) => value !== undefined)
      return jobLockName(jobFromConfig(Either.getOrThrow(decodeJob(Object.fromEntries(given)))))
    }
    assert.strictEqual(lock(), "pull-nas-b_c")
    assert.strictEqual(lock(), jobLockName(made({ destination: "b/c", datasets: ["tank/other"], port: "2222" })))
    assert.strictEqual(lock({ name: "cron" }), lock())
    const push = { direction: "push", destination: undefined }
    const others = [{ destination: "b/d" }, { host: "mars" }, { direction: "push" }, push, { ...push, port: 2222 }]
    const long = "x".repeat(200)
    const changes = [{}, ...others, { destination: `b/${long}1` }, { destination: `b/${long}2` }]
    const locks = changes.map(lock)
    assert.strictEqual(new Set(locks).size, locks.length, locks.join("\n"))
    for (const each of locks) assert.match(each, /^(pull|push)-[A-Za-z0-9_.-]{1,180}$/)
  })
})

describe("a retention of the command line", () => {
  const none = { hourly: undefined, daily: undefined, weekly: undefined, monthly: undefined }
  it("is what was given, or nothing; one that keeps nothing is refused", () => {
    assert.deepStrictEqual(retentionOf(none), Either.right(undefined))
    assert.deepStrictEqual(
      retentionOf({ ...none, daily: "3" }),
      Either.right({ hourly: 0, daily: 3, weekly: 0, monthly: 0 })
    )
    assert.isTrue(Either.isLeft(retentionOf({ ...none, daily: "0" })))
    assert.deepStrictEqual(
      retentionOf({ ...none, daily: "-1", weekly: "10001", monthly: "1e3" }),
      Either.left([
        "--daily: -1 is not a whole number from 0 to 10000",
        "--weekly: 10001 is not a whole number from 0 to 10000",
        '--monthly: "1e3" is not a whole number from 0 to 10000'
      ])
    )
  })
})

describe("a place", () => {
  it("is this host, unless another is named", () => {
    assert.deepStrictEqual(endpointFromFlags({ ...nothing, host: undefined }), Either.right(local))
    assert.deepStrictEqual(
      endpointFromFlags({ ...nothing, host: "root@nas", port: "22" }),
      Either.right({ _tag: "Remote", host: "nas", user: "root", port: 22, options: [] })
    )
    assert.isTrue(Either.isLeft(endpointFromFlags({ ...nothing, host: undefined, user: "me" })))
    assert.isTrue(Either.isLeft(endpointFromFlags({ ...nothing, datasets: [] })))
  })
})
