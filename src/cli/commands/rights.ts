import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Delegate from "../../replication/Delegate.ts"
import * as Prepare from "../../replication/Delegate.ts"
import { DelegateDocument, PrepareDocument } from "../../replication/Delegate.ts"
import { type Preparation, Receiver } from "../../replication/Receiver.ts"
import { ExitStatus } from "../../system/ExitStatus.ts"
import { Process } from "../../system/Process.ts"
import { allowCommand, permissionsOf, type Role, roles } from "../../zfs/Allow.ts"
import { userProblem } from "../../zfs/DatasetName.ts"
import * as Endpoint from "../../zfs/Endpoint.ts"
import { userName } from "../../zfs/ZfsCommand.ts"
import { command, warn } from "../command.ts"
import { Stop, UsageError } from "../exit.ts"
import { ends, endsOf } from "../layers.ts"
import * as options from "../options.ts"
import { json, output } from "../options.ts"
import { Output, printDocument } from "../output.ts"
import { placeFromFlags, resolve, strayOption } from "../replicationJob.ts"

const role = options.several("role", "ROLE", `What the user is there for: ${roles.join(", ")}.`)

const delegated = options.user.pipe(
  Options.withDescription("Who is to be allowed; log in as another with --host root@HOST.")
)

const check = Options.boolean("check").pipe(
  Options.withDescription("Look whether all of it is allowed; exit status 1 when something is missing.")
)

const apply = Options.boolean("apply").pipe(
  Options.withDescription("Allow what is not allowed yet (as root).")
)

interface Flags {
  readonly job: string | undefined
  readonly config: string | undefined
  readonly role: ReadonlyArray<string>
  readonly user: string | undefined
  readonly host: string | undefined
  readonly port: string | undefined
  readonly sshOptions: ReadonlyArray<string>
  readonly datasets: ReadonlyArray<string>
  readonly check: boolean
  readonly apply: boolean
  readonly dryRun: boolean
  readonly json: boolean
}

/** Who needs what, and which machine is which end. */
interface Wanted {
  readonly delegations: ReadonlyArray<Delegate.Delegation>
  readonly source: Endpoint.Endpoint
  readonly target: Endpoint.Endpoint
}

/** `zipper delegate`: the rights of somebody who is not root. */
export const delegate = Command.make(
  "delegate",
  {
    job: options.job,
    config: options.optionalConfig,
    role,
    user: delegated,
    host: options.host,
    port: options.port,
    sshOptions: options.sshOptions,
    check,
    apply,
    dryRun: options.replicationDryRun,
    json,
    datasets: options.datasets,
    ...output
  },
  (flags) =>
    Effect.gen(function* () {
      const wanted = yield* flags.job === undefined ? fromRoles(flags) : fromJob(flags)
      if (flags.check || (flags.apply && flags.dryRun)) return yield* lookAt(wanted, flags)
      if (flags.apply) {
        const done = yield* Effect.provide(
          Delegate.applyDelegations(wanted.delegations),
          ends(wanted.source, wanted.target)
        )
        if (done.length === 0) yield* Effect.logInfo("all of it is allowed already")
        return yield* tell(flags, true, done.map(rightOf))
      }
      yield* print(wanted, flags)
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Tell which rights a user needs, as commands for root. Example: zipper delegate --role send --user backup tank/data"
  )
)

const rolesOf = ({ role }: Flags): ReadonlyArray<Role> => roles.filter((each) => role.includes(each))

const unknownRoles = ({ role }: Flags): ReadonlyArray<string> =>
  role
    .filter((word) => !roles.some((each) => each === word))
    .map((word) => `--role: ${JSON.stringify(word)} is none of ${roles.join(", ")}`)

const mistakes = ({ apply, check, user }: Flags): ReadonlyArray<string> => {
  const wrong = user === undefined ? undefined : userProblem(user)
  return [
    ...(apply && check ? ["--check only looks, --apply changes: give one of them"] : []),
    ...(wrong === undefined ? [] : [`--user: ${JSON.stringify(user)} ${wrong}`])
  ]
}

/** All roles are for one machine: this one, or that of --host. */
const fromRoles = Effect.fnUntraced(function* (flags: Flags) {
  const [first, ...others] = rolesOf(flags)
  const wrong = [...mistakes(flags), ...unknownRoles(flags)]
  const { user } = flags
  const place = placeFromFlags({ ...flags, user: undefined })
  const stray = strayOption(flags.datasets)
  if (stray !== undefined) return yield* new UsageError({ command: "delegate", problems: [stray] })
  if (first === undefined || user === undefined || Either.isLeft(place) || wrong.length > 0) {
    return yield* new UsageError({
      command: "delegate",
      problems: [
        ...wrong,
        ...(flags.role.length === 0 ? [`give --job NAME, or --role (${roles.join(", ")})`] : []),
        ...(user === undefined ? ["--user: is missing; expected who is to be allowed"] : []),
        ...Either.match(place, { onLeft: (problems) => problems, onRight: () => [] })
      ]
    })
  }
  return {
    delegations: flags.datasets.map(
      (dataset): Delegate.Delegation => ({ end: "receiver", roles: [first, ...others], user, dataset })
    ),
    source: place.right,
    target: place.right
  } satisfies Wanted
})

const fromJob = Effect.fnUntraced(function* (flags: Flags) {
  const problems = [
    ...mistakes(flags),
    ...(flags.role.length > 0 ? ["--role: a job says itself what is needed; give --job or --role"] : [])
  ]
  const nothing = { destination: undefined, stripPrefix: undefined, raw: undefined, compress: undefined }
  const given = {
    ...flags,
    ...nothing,
    user: undefined,
    exclude: [],
    bandwidth: undefined,
    direction: undefined
  }
  const { job, warnings } = yield* resolve("delegate", given, problems)
  yield* warn(warnings)
  return { delegations: Delegate.delegationsOf(job, flags.user), ...endsOf(job) } satisfies Wanted
})

/** The commands, to be pasted; nobody is asked. */
const print = Effect.fnUntraced(function* ({ delegations, source, target }: Wanted, flags: Flags) {
  const { print: write } = yield* Output
  const lines = delegations.map((delegation) => {
    const end = delegation.end === "sender" ? source : target
    return {
      delegation,
      end,
      user: delegation.user ?? loginOf(end),
      heading: `# as root on ${machineOf(end)}`
    }
  })
  const unnamed = lines.find(({ user }) => user === undefined)
  if (unnamed !== undefined) {
    return yield* new UsageError({
      command: "delegate",
      problems: [`--user: is missing; nothing says whom ${machineOf(unnamed.end)} is used as`]
    })
  }
  for (const [index, { delegation, heading, user = "" }] of lines.entries()) {
    if (heading !== lines[index - 1]?.heading) yield* write(heading)
    if (user === "root") yield* write(`# ${delegation.dataset}: root needs no rights`)
    else for (const { command } of Delegate.commandsOf([{ ...delegation, user }])) yield* write(command)
  }
  const rights = lines.map(({ delegation, end, user = "" }) => {
    const permissions = user === "root" ? [] : permissionsOf(...delegation.roles)
    const right = { label: Endpoint.label(end), user, dataset: delegation.dataset, permissions }
    return rightOf({ ...right, command: permissions.length === 0 ? undefined : allowCommand(right) })
  })
  yield* tell(flags, true, rights)
})

type Right = DelegateDocument["rights"][number]

const rightOf = ({
  command,
  dataset,
  label,
  permissions,
  user
}: Omit<Delegate.Grant, "command"> & { readonly command: string | undefined }): Right => ({
  host: label,
  user,
  dataset,
  permissions,
  ...(command === undefined ? {} : { command })
})

const tell = (flags: Flags, ok: boolean, rights: ReadonlyArray<Right>) =>
  flags.json
    ? printDocument(DelegateDocument, {
        version: 1,
        action: flags.check ? "check" : flags.apply ? "apply" : "print",
        dry_run: flags.apply && flags.dryRun,
        ok,
        rights
      })
    : Effect.void

const machineOf = (end: Endpoint.Endpoint): string => (end._tag === "Local" ? Endpoint.label(end) : end.host)

const loginOf = (end: Endpoint.Endpoint): string | undefined => (end._tag === "Local" ? userName() : end.user)

/** What is missing, as an error each when that was the question, else as what a real run would do. */
const lookAt = Effect.fnUntraced(function* ({ delegations, source, target }: Wanted, flags: Flags) {
  const asked = flags.check
  const missing = yield* Effect.provide(Delegate.checkDelegations(delegations), ends(source, target))
  for (const { command, label, permissions, user } of missing) {
    yield* asked
      ? Effect.logError(`${user} lacks ${permissions.join(", ")}; as root on ${label}: ${command}`)
      : Effect.logInfo(`would run on ${label}: ${command}`)
  }
  yield* tell(flags, missing.length === 0, missing.map(rightOf))
  if (missing.length === 0) yield* Effect.logInfo("all of it is allowed")
  else if (asked) return yield* new Stop({ status: ExitStatus.someFailed })
})

/** `zipper prepare`: a parent for replicas. */
export const prepare = Command.make(
  "prepare",
  { ...options.remote, dryRun: options.replicationDryRun, json, datasets: options.datasets, ...output },
  (flags) =>
    Effect.gen(function* () {
      const place = placeFromFlags(flags)
      if (Either.isLeft(place)) return yield* new UsageError({ command: "prepare", problems: place.left })
      const real = Receiver.layer(place.right)
      const done = yield* Effect.forEach(flags.datasets, (dataset) =>
        Effect.map(Prepare.prepare(dataset), (report) => ({ dataset, ...report }))
      ).pipe(Effect.provide(Layer.provide(flags.dryRun ? Receiver.layerDryRun(real) : real, Process.layer)))
      if (flags.json) {
        yield* printDocument(PrepareDocument, {
          version: 1,
          dry_run: flags.dryRun,
          host: place.right._tag === "Local" ? null : place.right.host,
          datasets: done.map(documentOf)
        })
      }
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Make the dataset that replicas are written below, or set what it lacks: canmount=off, acltype=posix, xattr=sa. Example: zipper prepare tank/backup"
  )
)

const documentOf = ({
  changed,
  created,
  dataset,
  parents
}: Preparation & { readonly dataset: string }): PrepareDocument["datasets"][number] => ({
  dataset,
  result: created ? "made" : changed.length > 0 ? "set" : "nothing_to_do",
  parents,
  properties: changed
})
