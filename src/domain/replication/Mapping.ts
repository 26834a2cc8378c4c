import * as Either from "effect/Either"
import * as DatasetName from "./DatasetName.ts"
import { label, type Remote } from "./Endpoint.ts"
import type { Job } from "./Job.ts"

/** What of a job decides where its replicas go. */
type Addressing = Pick<Job, "direction" | "remote" | "destination" | "stripPrefix">

/** Where the replica of a dataset goes. Left: why it cannot go anywhere, to be put after the dataset's name. */
export const targetOf = (job: Addressing, dataset: string): Either.Either<string, string> => {
  const target = job.direction === "pull" ? pulled(job, dataset) : pushed(job, dataset)
  return Either.flatMap(target, (name) => {
    const problem = DatasetName.problem(name)
    return problem === undefined
      ? Either.right(name)
      : Either.left(`would be written to ${JSON.stringify(name)}, which ${problem}`)
  })
}

const pulled = ({ destination, remote }: Addressing, dataset: string): Either.Either<string, string> =>
  destination === undefined
    ? Either.left("cannot be pulled without a destination to write it below")
    : Either.right(`${destination}/${hostPart(remote.host)}/${dataset}`)

/** The host as a part of a dataset's name: what cannot be in one becomes `_`. */
const hostPart = (host: string): string => host.replace(/[^A-Za-z0-9_.:-]/g, "_")

const pushed = ({ destination, stripPrefix }: Addressing, dataset: string): Either.Either<string, string> => {
  if (stripPrefix !== undefined && !DatasetName.isWithin(dataset, stripPrefix)) {
    return Either.left(`does not lie in ${stripPrefix}, the prefix to strip`)
  }
  const rest = stripPrefix === undefined ? dataset : dataset.slice(stripPrefix.length + 1)
  if (destination !== undefined) return Either.right(rest === "" ? destination : `${destination}/${rest}`)
  return rest === ""
    ? Either.left("has no name left once the prefix is stripped: give a destination, or a shorter prefix")
    : Either.right(rest)
}

/** The target of each dataset; no two have the same, since one prefix is taken off all of them. Left: everything that is wrong, a line each. */
export const targetsOf = (
  job: Addressing,
  datasets: ReadonlyArray<string>
): Either.Either<ReadonlyMap<string, string>, ReadonlyArray<string>> => {
  const targets = new Map<string, string>()
  const problems: Array<string> = []
  for (const dataset of new Set(datasets)) {
    Either.match(targetOf(job, dataset), {
      onLeft: (reason) => problems.push(`${dataset} ${reason}`),
      onRight: (target) => targets.set(dataset, target)
    })
  }
  return problems.length > 0 ? Either.left(problems) : Either.right(targets)
}

/** A root of a job and where it goes. */
interface Route {
  readonly job: string
  readonly source: string
  readonly target: string
  /** Tells one machine and login from another. */
  readonly from: string
  readonly to: string
  /** For messages. */
  readonly shownFrom: string
  readonly shownTo: string
}

/**
 * Jobs that would write different datasets to one place: as far as their definitions tell, so without the children of
 * their datasets. A sentence each. What a job cannot map at all is left to {@link targetOf}.
 */
export const collisions = (jobs: ReadonlyArray<Job>): ReadonlyArray<string> => {
  const routes = jobs.map(routesOf)
  const found = routes.flatMap((own, index) =>
    routes
      .slice(index + 1)
      .flatMap((others) => own.flatMap((one) => others.flatMap((other) => collision(one, other))))
  )
  // Jobs of the same name, which is a mistake of its own, would be told of twice in the same words.
  return [...new Set(found)]
}

const routesOf = (job: Job): ReadonlyArray<Route> =>
  [...new Set(job.datasets)].flatMap((source) =>
    Either.match(targetOf(job, source), {
      onLeft: () => [],
      onRight: (target) => [{ job: job.name, source, target, ...ends(job) }]
    })
  )

const ends = ({ direction, remote }: Job): Pick<Route, "from" | "to" | "shownFrom" | "shownTo"> => {
  const shown = remote.port === undefined ? label(remote) : `${label(remote)}, port ${remote.port}`
  return direction === "pull"
    ? { from: loginKey(remote), to: "", shownFrom: ` of ${shown}`, shownTo: "" }
    : { from: "", to: machineKey(remote), shownFrom: "", shownTo: ` on ${remote.host}` }
}

const machineKey = ({ host, port }: Remote): string => JSON.stringify([host, port ?? 22])

const loginKey = ({ host, port, user }: Remote): string => JSON.stringify([host, port ?? 22, user ?? null])

const collision = (one: Route, other: Route): ReadonlyArray<string> => {
  if (one.to !== other.to) return []
  const [upper, lower] = DatasetName.isWithin(other.target, one.target) ? [one, other] : [other, one]
  if (!DatasetName.isWithin(lower.target, upper.target)) return []
  // What the upper job would write to the place of the lower one, if it has it.
  const rival = upper.source + lower.target.slice(upper.target.length)
  const sameDataset = rival === lower.source
  // Another dataset below a replica is fine unless the upper job has one of that name, which only a run can tell.
  if (sameDataset ? upper.from === lower.from : upper.target !== lower.target) return []
  return [
    `jobs ${JSON.stringify(upper.job)} and ${JSON.stringify(lower.job)} would both write to ${lower.target}${lower.shownTo}: ${rival}${upper.shownFrom} and ${lower.source}${lower.shownFrom}`
  ]
}
