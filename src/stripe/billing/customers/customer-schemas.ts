import { z } from 'zod'
import { conferenceParams, timestamp } from '../../../http/common-schemas.ts'
import { pageOf, pageQuery } from '../../../http/pages.ts'

export const customerParams = conferenceParams.extend({ customer: z.string() })

export const paymentMethodParams = customerParams.extend({
  payment_method: z.string().max(255).meta({ description: "Stripe's id, such as `pm_…`." }),
})

export const createCustomerBody = z.strictObject({
  sponsor: z.string().min(1).max(200).optional().meta({
    description: 'Id, slug or external id; for staff. A sponsor key means its own.',
  }),
})

export const customerQuery = z.strictObject({
  ...pageQuery,
  sponsor: z.string().min(1).max(200).optional(),
})

export const paymentMethodQuery = z.strictObject(pageQuery)

export const customerSchema = z
  .object({
    id: z.string(),
    object: z.literal('customer'),
    sponsor: z.string(),
    stripe_customer: z.string().nullable().meta({
      description: 'Null until Stripe has made it, and after it was deleted there.',
    }),
    name: z.string().nullable(),
    email: z.string().nullable(),
    default_payment_method: z.string().nullable().meta({
      description: 'What is charged unless another is named.',
    }),
    as_of: timestamp.nullable().meta({ description: 'When it was last read from Stripe.' }),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Customer' })

export const customerPage = pageOf(customerSchema).meta({ id: 'CustomerPage' })

export const paymentMethodSchema = z
  .object({
    id: z.string(),
    object: z.literal('payment_method'),
    customer: z.string(),
    type: z.string().nullable(),
    brand: z.string().nullable(),
    last4: z.string().nullable(),
    exp_month: z.int().nullable(),
    exp_year: z.int().nullable(),
    funding: z.string().nullable(),
    country: z.string().nullable(),
    billing_name: z.string().nullable(),
    is_default: z.boolean(),
    created_at: timestamp,
    as_of: timestamp,
  })
  .meta({ id: 'PaymentMethod' })

export const paymentMethodPage = pageOf(paymentMethodSchema).meta({ id: 'PaymentMethodPage' })
