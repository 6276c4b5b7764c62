import { startFakeStripe } from 'fake-stripe/source'

// In a process of its own, as Stripe is: what it computes must not slow down who asks.
const [key = '', customers = '0', coupons = '0'] = process.argv.slice(2)
const fake = await startFakeStripe({ nodeEnv: 'development' })
fake.control.createAccount({ secretKey: key })
fake.control.seedCustomers(key, Number(customers))
fake.control.seedCoupons(key, Number(coupons))
process.send?.(fake.url)
process.once('disconnect', () => void fake.close())
