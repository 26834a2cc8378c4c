import { assert, describe, it } from "@effect/vitest"
import { failure } from "../../src/zfs/ZfsCommand.ts"
import { nas } from "../support/replication/replicationEnds.ts"

const of = (stderr: string, exitCode = 255, endpoint: typeof nas | { readonly _tag: "Local" } = nas) =>
  failure("list tank", "tank", { exitCode, stdout: "", stderr }, { endpoint, role: "send", user: () => "backup" })

describe("a connection that fails", () => {
  // As OpenSSH 9.2 and 10.0 print them.
  const cases: ReadonlyArray<readonly [said: string, transient: boolean, message: RegExp]> = [
    ["ssh: connect to host nas port 22: Connection refused", true, /nas: ssh: connect .*refused$/],
    ["ssh: connect to host nas port 22: Connection timed out", true, /timed out$/],
    ["ssh: connect to host nas port 22: No route to host", true, /No route to host$/],
    ["Connection closed by 10.0.0.2 port 22", true, /closed by 10/],
    ["Connection to nas closed by remote host.", true, /closed by remote host\.$/],
    ["kex_exchange_identification: Connection closed by remote host", true, /closed by remote/],
    ["Timeout, server nas not responding.", true, /not responding\.$/],
    ["client_loop: send disconnect: Broken pipe", true, /Broken pipe$/],
    ["Connection timed out during banner exchange", true, /banner exchange$/],
    ["Shared connection to nas closed.", true, /Shared connection to nas closed\.$/],
    ["mux_client_read_packet: read header failed: EOF", true, /header failed: EOF$/],
    ["", true, /cannot reach backup@nas: the connection was lost$/],
    ["ssh: Could not resolve hostname nas: Temporary failure in name resolution", true, /name resolution$/],
    ["ssh: Could not resolve hostname nas: Name or service not known", false, /; is the name of the host right\?$/],
    [
      "backup@nas: Permission denied (publickey,password).",
      false,
      /denied \(publickey,password\)\.; .* try ssh -o BatchMode=yes backup@nas true as the user that runs this; ssh-copy-id/
    ],
    [
      "Received disconnect from 10.0.0.2 port 22:2: Too many authentication failures\nDisconnected from 10.0.0.2 port 22",
      false,
      /Too many authentication failures; the login needs a key/
    ],
    [
      "No ED25519 host key is known for nas and you have requested strict checking.\nHost key verification failed.",
      false,
      /not known yet: .*by hand: ssh -o StrictHostKeyChecking=ask backup@nas true$/
    ],
    [
      "@@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@@@\nIT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\nHost key verification failed.",
      false,
      /nas: Host key verification failed\.; its host key is another one than before/
    ],
    ["command-line: line 0: Bad configuration option: foo", false, /; check the host and the options for ssh$/],
    [
      "** WARNING: connection is not using a post-quantum key exchange algorithm.\nWarning: Permanently added 'nas' (ED25519) to the list of known hosts.\nConnection reset by 10.0.0.2 port 22",
      true,
      /nas: Connection reset by 10\.0\.0\.2 port 22$/
    ]
  ]
  for (const [said, transient, message] of cases) {
    it(`is one, and ${transient ? "may be tried again" : "stays"}: ${said.split("\n").at(-1)}`, () => {
      const error = of(`${said}\n`)
      assert.deepInclude(error, { reason: "Unreachable", transient })
      assert.match(error.message, message)
      assert.match(error.message, /^cannot list tank: cannot reach backup@nas: /)
      assert.notInclude(error.message, "\n")
    })
  }

  it("is no failure of zfs that ended with 255, nor of this machine, nor of another exit status", () => {
    const said = "cannot resume send: 'a@1' used in the initial send no longer exists"
    assert.strictEqual(of(said).message, `on backup@nas: cannot list tank: ${said}`)
    assert.strictEqual(of("", 255, { _tag: "Local" }).reason, "Other")
    assert.match(of("", 1).message, /^on backup@nas: cannot list tank: zfs ended with exit status 1 and no message$/)
    const denied = of("cannot open 'tank': permission denied", 1)
    assert.strictEqual(denied.reason, "PermissionDenied")
    assert.match(denied.message, /; root on nas can grant it: zfs allow -u backup send,hold 'tank'$/)
  })

  it("is told from a zfs that is not there", () => {
    for (const said of [
      "env: 'zfs': No such file or directory",
      "env: zfs: No such file or directory",
      "bash: line 1: zfs: command not found"
    ]) {
      const error = of(said, 127)
      assert.strictEqual(error.reason, "NotInstalled")
      assert.match(error.message, /; is OpenZFS installed there\?$/)
    }
  })
})

describe("what zfs says of a target", () => {
  it("is told apart", () => {
    for (const [said, reason] of [
      ["cannot receive new filesystem stream: out of space", "NoSpace"],
      ["cannot receive: destination dst/a space quota exceeded.", "NoSpace"],
      ["destination dst/a has been modified\nsince most recent snapshot", "Modified"],
      ["most recent snapshot of dst/a does not\nmatch incremental source", "Modified"],
      ["destination 'dst/a' exists\nmust specify -F to overwrite it", "Modified"],
      ['destination dst/a contains partially-complete state from "zfs receive -s".', "Modified"],
      ["cannot destroy 'dst/a': dataset is busy", "Busy"],
      ["cannot unmount '/mnt/look': pool or dataset is busy", "Busy"],
      ["cannot open 'dst/a': dataset does not exist", "NotFound"]
    ] as const) {
      assert.strictEqual(of(said, 1).reason, reason, said)
    }
    const mounted = of("cannot unmount '/mnt/look': pool or dataset is busy", 1)
    assert.match(mounted.message, / is busy; a program has a file open there, or works in that folder$/)
  })
})
