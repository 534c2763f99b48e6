//! Every step can be taken, undone and taken again, and leaves the same schema.

use muster_migrations::{Migrator, MigratorTrait as _};
use sea_orm_migration::sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, Statement};

async fn schema(db: &DatabaseConnection) -> Vec<String> {
    let query =
        "SELECT coalesce(sql, name) AS text FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name";
    let rows = db
        .query_all_raw(Statement::from_string(db.get_database_backend(), query))
        .await
        .expect("the schema can be read");
    rows.iter()
        .map(|row| row.try_get("", "text").expect("every row has its text"))
        .collect()
}

#[tokio::test]
async fn every_step_can_be_undone_and_taken_again() {
    let db = Database::connect("sqlite::memory:").await.unwrap();
    Migrator::up(&db, None).await.unwrap();
    let wanted = schema(&db).await;
    assert!(
        wanted.iter().any(|sql| sql.contains("AUTOINCREMENT")),
        "{wanted:#?}"
    );
    for steps in 1..=Migrator::migrations().len() {
        let steps = u32::try_from(steps).unwrap();
        Migrator::down(&db, Some(steps)).await.unwrap();
        Migrator::up(&db, None).await.unwrap();
        assert_eq!(schema(&db).await, wanted, "after undoing {steps}");
    }
    Migrator::down(&db, None).await.unwrap();
    assert_eq!(schema(&db).await.len(), 1, "only the table of steps is left");
}

#[test]
fn steps_are_in_the_order_of_their_names() {
    let names: Vec<_> = Migrator::migrations()
        .iter()
        .map(|step| step.name().to_owned())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
}
