// Prepares the shop for a trial or a test: SUPERADMIN_PASSWORD=… SHOP_PORT=… node setup.js PASSWORD_FILE
// Creates a tax zone, the product variant TEA with 100 in stock, and the terminals' administrator till@shop.example.
// Run again, it changes nothing but the password.
const fs = require('fs');

const url = `http://127.0.0.1:${process.env.SHOP_PORT || 3000}/admin-api`;
let cookie = '';

async function ask(query, variables = {}) {
    const response = await fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', cookie },
        body: JSON.stringify({ query, variables }),
    });
    const cookies = response.headers.getSetCookie().map((one) => one.split(';')[0]);
    if (cookies.length) cookie = cookies.join('; ');
    const said = await response.json();
    if (said.errors) throw new Error(JSON.stringify(said.errors));
    return said.data;
}

async function main() {
    const password = fs.readFileSync(process.argv[2], 'utf8').trim();
    await ask('mutation ($p: String!) { login(username: "superadmin", password: $p) { __typename } }', { p: process.env.SUPERADMIN_PASSWORD });
    const { administrators } = await ask('{ administrators(options: { filter: { emailAddress: { eq: "till@shop.example" } } }) { items { id } } }');
    if (administrators.items.length) {
        await ask('mutation ($i: UpdateAdministratorInput!) { updateAdministrator(input: $i) { id } }', { i: { id: administrators.items[0].id, password } });
        return;
    }
    const { createCountry } = await ask('mutation { createCountry(input: { code: "ES", enabled: true, translations: [{ languageCode: en, name: "Spain" }] }) { id } }');
    const { createZone } = await ask('mutation ($c: ID!) { createZone(input: { name: "Home", memberIds: [$c] }) { id } }', { c: createCountry.id });
    const { createTaxCategory } = await ask('mutation { createTaxCategory(input: { name: "Standard", isDefault: true }) { id } }');
    await ask('mutation ($z: ID!, $c: ID!) { createTaxRate(input: { name: "IVA", enabled: true, value: 21, zoneId: $z, categoryId: $c }) { id } }',
        { z: createZone.id, c: createTaxCategory.id });
    const { activeChannel } = await ask('{ activeChannel { id } }');
    await ask('mutation ($i: ID!, $z: ID!) { updateChannel(input: { id: $i, defaultTaxZoneId: $z, defaultShippingZoneId: $z }) { __typename } }',
        { i: activeChannel.id, z: createZone.id });
    const { createProduct } = await ask('mutation { createProduct(input: { translations: [{ languageCode: en, name: "Tea", slug: "tea", description: "" }] }) { id } }');
    await ask('mutation ($i: [CreateProductVariantInput!]!) { createProductVariants(input: $i) { id } }', {
        i: [{ productId: createProduct.id, sku: 'TEA', price: 450, stockOnHand: 100, trackInventory: 'TRUE', translations: [{ languageCode: 'en', name: 'Tea' }] }],
    });
    const rights = ['Create', 'Read', 'Update', 'Delete'].flatMap((verb) => ['Customer', 'Product', 'Order'].map((what) => verb + what));
    const { createRole } = await ask('mutation ($p: [Permission!]!) { createRole(input: { code: "till", description: "Terminals", permissions: $p }) { id } }', { p: rights });
    await ask('mutation ($i: CreateAdministratorInput!) { createAdministrator(input: $i) { id } }', {
        i: { firstName: 'Till', lastName: 'Till', emailAddress: 'till@shop.example', password, roleIds: [createRole.id] },
    });
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
