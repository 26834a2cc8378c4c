import { ZfsError } from "../zfs/contract.ts"

/** What is not there when a stream is made was there when it was planned. */
export const sourceFailure = (error: ZfsError): ZfsError =>
  error.reason === "NotFound" || (error.reason === "Other" && /not an earlier snapshot/.test(error.message))
    ? new ZfsError({ reason: "Vanished", message: error.message, transient: false, cause: error })
    : error
