import type { Command } from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Delegate from "../../replication/Delegate.ts"
import { DelegateDocument, PrepareDocument } from "../../replication/Delegate.ts"
import { Receiver } from "../../replication/Receiver.ts"
import { Process } from "../../system/Process.ts"
import { allowCommand, permissionsOf, roles } from "../../zfs/Allow.ts"
import { userProblem } from "../../zfs/DatasetName.ts"
import * as Endpoint from "../../zfs/Endpoint.ts"
import { userName } from "../../zfs/ZfsCommand.ts"
import { makeCommand, warn } from "../command.ts"
import { stopUnless, UsageError } from "../exit.ts"
import { ends, endsOf } from "../layers.ts"
import * as options from "../options.ts"
import { Output, printDocument } from "../output.ts"
import { endpointFromFlags, resolveJob } from "../replicationJob.ts"

const delegateOptions = {
  job: options.job,
  config: options.jobConfig,
  role: options.several("role", "ROLE", `What the user is there for: ${roles.join(", ")}.`),
  user: options.single("user", "USER", "The user who gets the rights; --host root@HOST says which user logs in there."),
  host: options.remote.host,
  port: options.remote.port,
  sshOptions: options.remote.sshOptions,
  check: options.flag("check", "Look whether all of it is allowed; exit status 1 when something is missing."),
  apply: options.flag("apply", "Allow what is not allowed yet (as root)."),
  dryRun: options.replicationDryRun,
  datasets: options.datasets("The datasets that the rights are set on; they hold for everything below, too.")
}
type Flags = Command.ParseConfig<typeof delegateOptions>

/** `zipper delegate`: the rights of a user who is not root. */
export const delegate = makeCommand(
  "delegate",
  "Print which rights a user needs, as commands for root. Example: zipper delegate --role send --user backup tank/data",
  delegateOptions,
  function* (flags) {
    const plan = yield* flags.job === undefined ? fromRoles(flags) : fromJob(flags)
    if (flags.check || (flags.apply && flags.dryRun)) return yield* checkRights(plan, flags)
    if (!flags.apply) return yield* printCommands(plan, flags)
    const done = yield* Effect.provide(Delegate.applyDelegations(plan.delegations), ends(plan.source, plan.target))
    if (done.length === 0) yield* Effect.logInfo("all of it is allowed already")
    yield* printRights(flags, true, done.map(rightOf))
  }
)

interface DelegationPlan {
  readonly delegations: ReadonlyArray<Delegate.Delegation>
  readonly source: Endpoint.Endpoint
  readonly target: Endpoint.Endpoint
}

const refuse = (...problems: ReadonlyArray<string>) => new UsageError({ command: "delegate", problems })

const commonMistakes = ({ apply, check, user }: Flags): ReadonlyArray<string> => {
  const wrong = user === undefined ? undefined : userProblem(user)
  return [
    ...(apply && check ? ["--check only looks, --apply changes: give one of them"] : []),
    ...(wrong === undefined ? [] : [`--user: ${JSON.stringify(user)} ${wrong}`])
  ]
}

/** All roles are for one machine: this one, or that of --host. */
const fromRoles = Effect.fnUntraced(function* (flags: Flags) {
  const { user } = flags
  const [first, ...others] = roles.filter((each) => flags.role.includes(each))
  const wrong = [
    ...commonMistakes(flags),
    ...flags.role
      .filter((word) => !roles.some((each) => each === word))
      .map((word) => `--role: ${JSON.stringify(word)} is none of ${roles.join(", ")}`)
  ]
  const place = endpointFromFlags({ ...flags, user: undefined })
  if (first === undefined || user === undefined || Either.isLeft(place) || wrong.length > 0) {
    return yield* refuse(
      ...wrong,
      ...(flags.role.length === 0 ? [`give --job NAME, or --role (${roles.join(", ")})`] : []),
      ...(user === undefined ? ["--user: is missing; expected who is to be allowed"] : []),
      ...Either.match(place, { onLeft: (problems) => problems, onRight: () => [] })
    )
  }
  return {
    delegations: flags.datasets.map(
      (dataset): Delegate.Delegation => ({ end: "receiver", roles: [first, ...others], user, dataset })
    ),
    source: place.right,
    target: place.right
  } satisfies DelegationPlan
})

const fromJob = Effect.fnUntraced(function* (flags: Flags) {
  const { job, warnings } = yield* resolveJob("delegate", { ...flags, user: undefined }, [
    ...commonMistakes(flags),
    ...(flags.role.length > 0 ? ["--role: a job says itself what is needed; give --job or --role"] : [])
  ])
  yield* warn(warnings)
  return { delegations: Delegate.delegationsOf(job, flags.user), ...endsOf(job) } satisfies DelegationPlan
})

/** Prints the commands, to be pasted, and asks no host. */
const printCommands = Effect.fnUntraced(function* (plan: DelegationPlan, flags: Flags) {
  const { print } = yield* Output
  const lines = plan.delegations.map((delegation) => {
    const end = delegation.end === "sender" ? plan.source : plan.target
    const user = delegation.user ?? (end._tag === "Local" ? userName() : end.user)
    return { delegation, end, user, heading: `# as root on ${machineOf(end)}` }
  })
  const unnamed = lines.find(({ user }) => user === undefined)
  if (unnamed !== undefined) {
    return yield* refuse(`--user: is missing; nothing says whom ${machineOf(unnamed.end)} is used as`)
  }
  for (const [index, { delegation, heading, user = "" }] of lines.entries()) {
    if (heading !== lines[index - 1]?.heading) yield* print(heading)
    if (user === "root") yield* print(`# ${delegation.dataset}: root needs no rights`)
    else for (const { command } of Delegate.commandsOf([{ ...delegation, user }])) yield* print(command)
  }
  const rights = lines.map(({ delegation: { dataset, roles }, end, user = "" }): Right => {
    const permissions = user === "root" ? [] : permissionsOf(...roles)
    const right = { user, dataset, permissions }
    return { host: Endpoint.label(end), ...right, ...(user === "root" ? {} : { command: allowCommand(right) }) }
  })
  yield* printRights(flags, true, rights)
})

const machineOf = (end: Endpoint.Endpoint): string => (end._tag === "Local" ? Endpoint.label(end) : end.host)

/** Reports what is missing: as an error each with --check, else as what a real run would do. */
const checkRights = Effect.fnUntraced(function* (plan: DelegationPlan, flags: Flags) {
  const missing = yield* Effect.provide(Delegate.checkDelegations(plan.delegations), ends(plan.source, plan.target))
  for (const { command, label, permissions, user } of missing) {
    yield* flags.check
      ? Effect.logError(`${user} lacks ${permissions.join(", ")}; as root on ${label}: ${command}`)
      : Effect.logInfo(`would run on ${label}: ${command}`)
  }
  yield* printRights(flags, missing.length === 0, missing.map(rightOf))
  if (missing.length === 0) yield* Effect.logInfo("all of it is allowed")
  yield* stopUnless(missing.length === 0 || !flags.check)
})

type Right = DelegateDocument["rights"][number]

const rightOf = ({ label: host, ...right }: Delegate.Grant): Right => ({ host, ...right })

const printRights = ({ apply, check, dryRun }: Flags, ok: boolean, rights: ReadonlyArray<Right>) => {
  const action = check ? "check" : apply ? "apply" : "print"
  return printDocument(DelegateDocument, { version: 1, action, dry_run: apply && dryRun, ok, rights })
}

/** `zipper prepare`: a parent for replicas. */
export const prepare = makeCommand(
  "prepare",
  "Make the dataset that replicas are written below, or set what it lacks: canmount=off, acltype=posix, xattr=sa. Example: zipper prepare tank/backup",
  {
    ...options.remote,
    dryRun: options.replicationDryRun,
    datasets: options.datasets("The datasets to make or to set right.")
  },
  function* (flags) {
    const place = endpointFromFlags(flags)
    if (Either.isLeft(place)) return yield* new UsageError({ command: "prepare", problems: place.left })
    const real = Receiver.layer(place.right)
    const datasets = yield* Effect.forEach(flags.datasets, (dataset) =>
      Effect.map(Delegate.prepare(dataset), ({ changed, created, parents }): PrepareDocument["datasets"][number] => ({
        dataset,
        result: created ? "made" : changed.length > 0 ? "set" : "nothing_to_do",
        parents,
        properties: changed
      }))
    ).pipe(Effect.provide(Layer.provide(flags.dryRun ? Receiver.layerDryRun(real) : real, Process.layer)))
    const host = place.right._tag === "Local" ? null : place.right.host
    yield* printDocument(PrepareDocument, { version: 1, dry_run: flags.dryRun, host, datasets })
  }
)
