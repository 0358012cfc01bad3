// A small Vendure shop on PostgreSQL, for a trial or a test: PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, SHOP_PORT,
// and SUPERADMIN_PASSWORD.
const { bootstrap } = require('@vendure/core');
const { ResyncdPlugin } = require('./resyncd-plugin.js');

const env = process.env;
bootstrap({
    apiOptions: { hostname: '127.0.0.1', port: Number(env.SHOP_PORT || 3000), adminApiPath: 'admin-api', shopApiPath: 'shop-api' },
    authOptions: {
        tokenMethod: 'cookie',
        cookieOptions: { secret: env.COOKIE_SECRET || 'a trial’s secret' },
        superadminCredentials: { identifier: 'superadmin', password: env.SUPERADMIN_PASSWORD },
    },
    dbConnectionOptions: {
        type: 'postgres', synchronize: true, host: env.PGHOST || '127.0.0.1', port: Number(env.PGPORT || 5432),
        username: env.PGUSER, password: env.PGPASSWORD, database: env.PGDATABASE || 'shop',
    },
    paymentOptions: { paymentMethodHandlers: [] },
    plugins: [ResyncdPlugin],
}).catch((error) => {
    console.error(error);
    process.exit(1);
});
