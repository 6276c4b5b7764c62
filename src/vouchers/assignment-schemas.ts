import { z } from 'zod'
import { flag } from '../http/common-schemas.ts'
import type { BulkAssignment } from './assign-in-bulk.ts'
import { ASSIGNMENT_OUTCOMES } from './assign-vouchers.ts'
import { assigneeFields } from './assignment-file.ts'

export const assignBody = z
  .strictObject({
    email: assigneeFields.email,
    name: assigneeFields.name
      .nullish()
      .meta({ description: 'Absent: the name that is stored stays.' }),
    replaces: assigneeFields.email.nullish().meta({
      description:
        'The address of the person who may be replaced; null: the voucher must be free. If another person has it, the request fails with `already_assigned`. Absent: anyone is replaced.',
    }),
    send: z.boolean().default(true).meta({
      description: 'Whether the person gets the code by e-mail. The same person again gets none.',
    }),
  })
  .meta({ id: 'AssignVoucher' })

export const assignFileQuery = z.strictObject({
  dry_run: flag.default(false).meta({
    description: 'Shows what would be assigned, and all errors by line. Nothing is saved or sent.',
  }),
  replace: flag.default(false).meta({
    description: 'A line with a code may replace the person who has it.',
  }),
  send: flag.default(true).meta({
    description: 'Whether the persons get their codes by e-mail.',
  }),
})

const counts = {
  assigned: z.int(),
  replaced: z.int(),
  updated: z.int().meta({ description: 'Only the name changed.' }),
  unchanged: z.int(),
  skipped: z.int().meta({ description: 'Lines with a code, but without a person.' }),
}

const line = z.int().meta({ description: 'From 1, with the header.' })

export const assignFileSchema = z
  .object({
    object: z.literal('assignment_upload'),
    dry_run: z.boolean(),
    ...counts,
    errors: z
      .array(z.object({ line, column: z.string().nullable(), detail: z.string() }))
      .meta({ description: 'Only a dry run shows errors. Otherwise the request fails with them.' }),
    data: z.array(
      z.object({
        line,
        code: z.string(),
        email: z.string(),
        name: z.string().nullable(),
        outcome: z.enum(ASSIGNMENT_OUTCOMES),
      }),
    ),
  })
  .meta({ id: 'AssignmentUpload' })

export type AssignmentUpload = z.infer<typeof assignFileSchema>

export function toAssignFileBody(
  { lines, skipped, errors }: BulkAssignment,
  dryRun: boolean,
): AssignmentUpload {
  const count = (outcome: string) => lines.filter((each) => each.outcome === outcome).length
  return {
    object: 'assignment_upload',
    dry_run: dryRun,
    assigned: count('assigned'),
    replaced: count('replaced'),
    updated: count('updated'),
    unchanged: count('unchanged'),
    skipped,
    errors,
    data: lines,
  }
}
