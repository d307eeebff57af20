//! Spends its time in bulk operations, which are not interrupted in the middle.

use hostile::next_slave;

next_slave!("policy-fills-in-bulk", |_slaves| {
    let mut block = vec![0_u8; 200 << 20];
    loop {
        std::hint::black_box(&mut block).fill(7);
    }
});
